"""What all tests share: a stage's name, credentials of nowhere, and Powertools silent."""

import os

os.environ |= {
    "STAGE": "test",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
