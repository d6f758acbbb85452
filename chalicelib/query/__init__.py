"""The questions of analysts: request → plan (which stored windows cover the range) → answer. No boto3 here."""
