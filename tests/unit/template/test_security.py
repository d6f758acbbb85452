"""What keeps the data: encryption, TLS, versions, backups, who may; and the tags by which its cost is told."""

import pytest

from tests.packaging import resources_of

TAGS = {"application": "highwater", "stage": {"Ref": "Stage"}, "cost-center": {"Ref": "CostCenter"}}
# What takes tags, of the types here that the template or the transform makes.
TAGGED = {
    "AWS::ApiGateway::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::DynamoDB::Table",
    "AWS::EC2::VPCEndpoint",
    "AWS::KMS::Key",
    "AWS::Kinesis::Stream",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SecretsManager::Secret",
}


def statements(resources, name):
    return {each["Sid"]: each for each in resources[name]["Properties"]["PolicyDocument"]["Statement"]}


@pytest.mark.parametrize(
    ("policy", "action", "resource"),
    [
        (
            "DeadLettersBucketPolicy",
            "s3:*",
            [{"Fn::GetAtt": ["DeadLettersBucket", "Arn"]}, {"Fn::Sub": "${DeadLettersBucket.Arn}/*"}],
        ),
        (
            "RedriveQueuesPolicy",
            "sqs:*",
            [{"Fn::GetAtt": ["RedriveQueue", "Arn"]}, {"Fn::GetAtt": ["RedriveFailedQueue", "Arn"]}],
        ),
        ("ResultsTopicPolicy", "sns:Publish", {"Ref": "ResultsTopic"}),
        ("AlarmsTopicPolicy", "sns:Publish", {"Ref": "AlarmsTopic"}),
    ],
)
def test_nobody_is_served_without_tls(resources, policy, action, resource):
    assert statements(resources, policy)["TlsOnly"] == {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resource,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_the_bucket_takes_no_tls_before_1_2(resources):
    refused = statements(resources, "DeadLettersBucketPolicy")["NoOldTls"]
    assert (refused["Effect"], refused["Principal"], refused["Action"]) == ("Deny", "*", "s3:*")
    assert refused["Condition"] == {"NumericLessThan": {"s3:TlsVersion": "1.2"}}
    assert resources["DeadLettersBucketPolicy"]["Properties"]["Bucket"] == {"Ref": "DeadLettersBucket"}


def test_the_bucket_is_private_encrypted_versioned_and_its_owners(resources):
    bucket = resources["DeadLettersBucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def test_the_bucket_may_have_another_name_which_the_functions_are_told(template, resources):
    usual, named = {"Fn::Sub": "highwater-${Stage}-dead-letters"}, {"Ref": "DeadLettersBucketName"}
    name = resources["DeadLettersBucket"]["Properties"]["BucketName"]
    assert name == {"Fn::If": ["NamesDeadLettersBucket", named, usual]}
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["DEAD_LETTERS_BUCKET"] == {"Ref": "DeadLettersBucket"}


def test_no_letter_is_deleted_for_its_age_or_put_where_redrive_cannot_read_it(resources):
    rules = resources["DeadLettersBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    expiring = {"Expiration", "ExpirationInDays", "ExpirationDate"}
    assert not [rule for rule in rules if expiring & rule.keys()]
    classes = {each["StorageClass"] for rule in rules for each in rule.get("Transitions", [])}
    assert classes == {"GLACIER_IR"}, "those below it have to be restored before they can be read"
    assert any(rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays") == 90 for rule in rules)
    assert any(rule.get("AbortIncompleteMultipartUpload") == {"DaysAfterInitiation": 7} for rule in rules)


@pytest.mark.parametrize("topic", ["ResultsTopic", "AlarmsTopic"])
def test_a_topic_is_this_accounts_alone(resources, topic):
    allowed = [each for each in statements(resources, f"{topic}Policy").values() if each["Effect"] == "Allow"]
    own = {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    assert [each["Action"] for each in allowed if each["Principal"] == own] == [["sns:Publish", "sns:Subscribe"]]
    services = {each["Principal"]["Service"]: each for each in allowed if each["Principal"] != own}
    assert services.keys() == ({"cloudwatch.amazonaws.com", "budgets.amazonaws.com"} if "Alarms" in topic else set())
    for each in services.values():
        assert each["Action"] == "sns:Publish"
        assert "AWS::AccountId" in str(each["Condition"])


def test_the_alarms_of_this_stage_alone_may_publish_to_its_topic(resources):
    condition = statements(resources, "AlarmsTopicPolicy")["Alarms"]["Condition"]
    alarm = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:highwater-${Stage}-*"
    assert condition == {"ArnLike": {"aws:SourceArn": {"Fn::Sub": alarm}}}


def test_who_tells_of_alarms_may_use_the_key_of_their_topic(resources):
    """Neither CloudWatch nor Budgets may use alias/aws/sns, whose policy nobody can change.

    Source: AWS re:Post knowledge center, "How do I configure CloudWatch alarms with an encrypted SNS topic".
    """
    assert resources["AlarmsTopic"]["Properties"]["KmsMasterKeyId"] == {"Fn::GetAtt": ["AlarmsKey", "Arn"]}
    key = resources["AlarmsKey"]["Properties"]
    assert key["EnableKeyRotation"] is True
    (allowed,) = [each for each in key["KeyPolicy"]["Statement"] if "Service" in each["Principal"]]
    assert set(allowed["Principal"]["Service"]) == {"cloudwatch.amazonaws.com", "budgets.amazonaws.com"}
    assert allowed["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]


def test_everything_that_rests_is_encrypted(template):
    assert all(each["SSESpecification"] == {"SSEEnabled": True} for each in tables(template).values())
    (stream,) = resources_of(template, "AWS::Kinesis::Stream").values()
    assert stream["StreamEncryption"]["EncryptionType"] == "KMS"
    assert all(each["KmsMasterKeyId"] for each in resources_of(template, "AWS::SNS::Topic").values())
    assert all(each["SqsManagedSseEnabled"] is True for each in resources_of(template, "AWS::SQS::Queue").values())


def tables(template):
    return resources_of(template, "AWS::DynamoDB::Table")


def test_tables_are_paid_by_request_and_can_be_had_back_from_any_moment(template):
    assert len(tables(template)) == 4
    for table in tables(template).values():
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_what_keeps_data_outlives_its_stack_but_not_a_creation_that_fails(template, resources):
    keeping = {name for name, each in resources.items() if each.get("DeletionPolicy") == "Retain"}
    assert keeping == {*tables(template), "EventsStream", "DeadLettersBucket", "ApiTokens"}
    assert all(resources[name]["UpdateReplacePolicy"] == "Retain" for name in keeping)
    assert not any("DeletionProtectionEnabled" in each for each in tables(template).values())


def test_tables_expire_what_they_should(template):
    expiring = {
        name: each["TimeToLiveSpecification"]["AttributeName"]
        for name, each in tables(template).items()
        if each.get("TimeToLiveSpecification", {}).get("Enabled")
    }
    assert expiring == {"AggregatesTable": "expires_at", "IdsTable": "expires_at", "IdempotencyTable": "expiration"}
    keys = [key["AttributeName"] for key in tables(template)["AggregatesTable"]["KeySchema"]]
    assert keys == ["pk", "sk"]


def test_the_tokens_are_kept(resources):
    secret = resources["ApiTokens"]
    assert secret["Properties"]["Name"] == {"Fn::Sub": "highwater-${Stage}-api-tokens"}
    assert secret["Properties"]["SecretString"] == '{"tokens": []}', "another text would be written over the tokens"
    assert (secret["DeletionPolicy"], secret["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_whatever_costs_is_tagged(stage):
    for name, resource in stage["Resources"].items():
        if resource["Type"] in TAGGED:
            given = resource["Properties"]["Tags"]
            tags = given if isinstance(given, dict) else {each["Key"]: each["Value"] for each in given}
            assert {key: tags.get(key) for key in TAGS} == TAGS, name
    roles = resources_of(stage, "AWS::IAM::Role")
    assert all("Tags" in role for name, role in roles.items() if name != "CodeDeployServiceRole")
