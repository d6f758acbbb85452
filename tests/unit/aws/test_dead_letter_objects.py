import io

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from chalicelib.aws.dead_letter_objects import SAVES_MAX, DeadLetterObjects
from chalicelib.errors import TransientError
from tests.builders import letter, letters_object

KEY = "dead-letters/s/2026-11-24/shard/7.jsonl.gz"
WHOLE = letters_object(*(letter(b"%d" % number * 99) for number in range(99)))


@pytest.fixture
def s3():
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        yield client, stub


@pytest.mark.parametrize("received", [0, 1, len(WHOLE) // 2, len(WHOLE) - 1])
def test_a_connection_that_breaks_is_transient_and_no_object_cut_short(s3, received):
    client, stub = s3
    body = StreamingBody(io.BytesIO(WHOLE[:received]), content_length=len(WHOLE))
    stub.add_response("get_object", {"Body": body, "ETag": '"1"'})
    stored = DeadLetterObjects(client, "bucket").read_letters(KEY)
    with pytest.raises(TransientError, match="IncompleteReadError"):
        list(stored.letters)


def test_one_who_is_overtaken_again_and_again_gives_up(s3):
    client, stub = s3
    for _ in range(SAVES_MAX):
        stub.add_client_error("get_object", "NoSuchKey", http_status_code=404)
        request = {"Bucket": "bucket", "Key": f"redriven/{KEY}", "Body": ANY, "IfNoneMatch": "*"}
        stub.add_client_error("put_object", "PreconditionFailed", http_status_code=412, expected_params=request)
    with DeadLetterObjects(client, "bucket").accepting(KEY) as accepting:
        accepting.add(letter(b"a"))
        with pytest.raises(TransientError, match="overtaken"):
            accepting.save()


def test_what_may_not_be_read_is_transient_by_its_name(s3):
    client, stub = s3
    stub.add_client_error("get_object", "AccessDenied", http_status_code=403)
    with pytest.raises(TransientError, match="AccessDenied"):
        DeadLetterObjects(client, "bucket").read_letters(KEY)
