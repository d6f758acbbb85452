from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from loadtest.cdnow import Total
from loadtest.subscriber import Results

DAY = ("orders", "1997-01-01T00:00:00Z", "1997-01-02T00:00:00Z")


def window(revision, *rows, final=False, part=1, parts=1):
    content = {"count": rows[0], "revenue": Decimal(rows[1])} if rows else {}
    return message(
        kind="window",
        id=f"{revision}-{final}-{part}",
        metric=DAY[0],
        window_start=DAY[1],
        window_end=DAY[2],
        revision=revision,
        final=final,
        part=part,
        parts=parts,
        rows=[content] if rows else [],
    )


def message(**content):
    return msgspec.json.Encoder(decimal_format="number").encode(content).decode()


def taken(*messages):
    results = Results()
    for each in messages:
        results.take(each)
    return results


def test_the_highest_revision_holds_in_whatever_order_they_come():
    results = taken(window(1, 1, "1.10"), window(3, 3, "3.30"), window(2, 2, "2.20"), window(3, 3, "3.30"))
    assert results.orders_by_day() == {"1997-01-01": Total(3, Decimal("3.30"))}
    assert (results.messages["window"], results.repeats) == (4, 2)


def test_of_one_revision_the_final_message_is_the_last():
    results = taken(window(2, 2, "2", final=True), window(2, 2, "2"))
    assert results.windows[DAY][1]["final"]
    assert results.repeats == 1


def test_a_window_is_there_once_all_its_parts_are():
    results = taken(window(2, 2, "2", part=2, parts=2))
    assert results.rows() == {}
    results.take(window(2, 1, "1.5", part=1, parts=2))
    assert results.orders_by_day() == {"1997-01-01": Total(3, Decimal("3.5"))}


def test_an_alert_that_comes_again_is_one_alert():
    alert = message(kind="alert", id="a", metric="orders")
    assert (len(taken(alert, alert).alerts), taken(alert, alert).repeats) == (1, 1)


parts_of_two_revisions = [
    window(revision, 10 * revision + part, str(part), part=part, parts=3) for revision in (1, 2) for part in (1, 2, 3)
]


@given(
    st.lists(st.sampled_from(parts_of_two_revisions), max_size=10).flatmap(
        lambda some: st.permutations([*parts_of_two_revisions, *some])
    )
)
def test_in_any_order_with_any_repeats_the_last_revision_is_whole(messages):
    assert taken(*messages).orders_by_day() == {"1997-01-01": Total(66, Decimal(6))}
