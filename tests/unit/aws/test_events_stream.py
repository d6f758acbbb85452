import boto3
import pytest
from botocore.stub import Stubber

from chalicelib.aws.events_stream import SHARDS_A_PAGE, EventsStream
from chalicelib.consumers.ports import StreamRecord
from chalicelib.consumers.put_requests import RECORDS_A_REQUEST
from chalicelib.errors import TransientError
from chalicelib.records.shard import Shard

RANGE = {"StartingHashKey": "7", "EndingHashKey": "9"}


@pytest.fixture
def kinesis():
    client = boto3.client("kinesis", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        yield client, stub


def listed(shard_id, ending=None, **parents):
    numbers = {"StartingSequenceNumber": "1"} | ({"EndingSequenceNumber": ending} if ending else {})
    return {"ShardId": shard_id, "HashKeyRange": RANGE, "SequenceNumberRange": numbers, **parents}


def test_further_pages_are_asked_for_by_their_token_alone_as_kinesis_demands(kinesis):
    client, stub = kinesis
    first = {"StreamName": "events", "MaxResults": SHARDS_A_PAGE}
    stub.add_response("list_shards", {"Shards": [listed("shard-0", "9")], "NextToken": "more"}, first)
    child = listed("shard-1", ParentShardId="shard-0", AdjacentParentShardId="shard-9")
    stub.add_response("list_shards", {"Shards": [child]}, {"NextToken": "more", "MaxResults": SHARDS_A_PAGE})
    assert EventsStream(client, "events").list_shards(10_000) == [
        Shard("shard-0", is_open=False, starting_hash_key="7", ending_hash_key="9"),
        Shard("shard-1", is_open=True, parents=("shard-0", "shard-9"), starting_hash_key="7", ending_hash_key="9"),
    ]


def test_a_throttled_list_is_transient_and_a_refused_one_is_not(kinesis):
    client, stub = kinesis
    stream = EventsStream(client, "events")
    stub.add_client_error("list_shards", "LimitExceededException", http_status_code=400)
    with pytest.raises(TransientError, match="LimitExceededException"):
        stream.list_shards(10_000)
    stub.add_client_error("list_shards", "AccessDeniedException", http_status_code=400)
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        stream.list_shards(10_000)


def test_out_of_time_nothing_is_asked(kinesis):
    with pytest.raises(TransientError, match="out of time"):
        EventsStream(kinesis[0], "events").list_shards(0)


def test_records_are_put_500_at_once_and_those_refused_are_named(kinesis):
    client, stub = kinesis
    records = [StreamRecord("tick", str(number), b"{}") for number in range(RECORDS_A_REQUEST + 1)]
    wire = [{"PartitionKey": "tick", "ExplicitHashKey": each.explicit_hash_key, "Data": b"{}"} for each in records]
    for request, refused in ((wire[:RECORDS_A_REQUEST], {0, 7}), (wire[RECORDS_A_REQUEST:], {0})):
        answers = [{"ErrorCode": "InternalFailure"} if place in refused else {} for place in range(len(request))]
        answer = {"FailedRecordCount": len(refused), "Records": answers}
        stub.add_response("put_records", answer, {"StreamName": "events", "Records": request})
    assert EventsStream(client, "events").put_records(records, 10_000) == [0, 7, RECORDS_A_REQUEST]


def test_a_record_without_a_hash_key_goes_where_its_partition_key_leads(kinesis):
    client, stub = kinesis
    request = {"StreamName": "events", "Records": [{"PartitionKey": "ada", "Data": b"{}"}]}
    stub.add_response("put_records", {"Records": [{}]}, request)
    assert EventsStream(client, "events").put_records([StreamRecord("ada", None, b"{}")], 10_000) == []
