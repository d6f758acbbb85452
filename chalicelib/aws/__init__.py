"""The only place where boto3 appears: Highwater's ports on DynamoDB, S3 and Kinesis."""
