"""The oracle's rules, each by a stream small enough to be judged by eye.

A stream is drawn shard by shard, and a shard record by record: `at(10, A, B)` is a record of two events that arrived
at 10 ms. The event A is of the user A, so `counted` tells how often each event was counted.
"""

from collections import Counter
from decimal import Decimal
from itertools import count

import pytest

from tests.simulation.oracle import Limits, expected
from tests.simulation.stream import Event, Order, Poison, Record, Shard, UserRecord

HORIZON = 40_000
LIMITS = Limits(lateness_ms=1_000_000, future_tolerance_ms=5_000_000, horizon_ms=HORIZON, ids_max=3)
WHOLE, LEFT, RIGHT = range(100), range(50), range(50, 100)
BROKEN = Poison("broken aggregate")
MALFORMED = Poison("malformed")
numbers = count(1)


def event(event_id, text=None, *, time_ms=0, source="/s", amount=1):
    order = Order(event_id, "EUR", "gift", Decimal(amount))
    return Event(source, event_id, time_ms, (text or event_id).encode(), order)


A, B, C, D, E, F = map(event, "ABCDEF")
A2 = event("A", "A, otherwise")


def at(arrived_at_ms, *pieces, number=None):
    return Record(str(number or next(numbers)), arrived_at_ms, "key", b"", (UserRecord(pieces),))


def aggregate(arrived_at_ms, partition_key, *user_records):
    """An aggregate of (hash key, piece)."""
    parts = tuple(UserRecord((piece,), hash_key) for hash_key, piece in user_records)
    return Record(str(next(numbers)), arrived_at_ms, partition_key, b"", parts)


def shard(name, *records, of="", keys=WHOLE):
    """A shard; `of` names its parents, a letter each."""
    return Shard(name, keys, tuple(of), records)


def judge(*shards, limits=LIMITS):
    return expected(shards, limits)


def counted(outcome):
    """How often each event was counted, as one word: "AAB"."""
    times = Counter(
        {
            user: n
            for (metric, _, (user, *_), what), n in outcome.counts.items()
            if metric == "customers" and what == "count"
        }
    )
    return "".join(sorted(times.elements()))


def dead(outcome):
    """Every dead letter's reason, in the order of the records."""
    return [
        reason
        for _, reasons in sorted(outcome.dead_letters.items(), key=lambda item: int(item[0]))
        for reason in reasons
    ]


# ── what is counted, and what cannot be ──


def test_an_event_is_in_every_metric_at_its_minute():
    order = event("A", time_ms=119_999, amount=Decimal("2.50"))
    outcome = judge(shard("p", at(119_999, order), at(120_000, event("B", time_ms=120_000))))
    assert outcome.counts == {
        ("orders", 60_000, ("EUR", "gift"), "count"): 1,
        ("orders", 60_000, ("EUR", "gift"), "sum"): Decimal("2.50"),
        ("customers", 60_000, ("A",), "count"): 1,
        ("customers", 60_000, ("A",), "sum"): Decimal("2.50"),
        ("orders", 120_000, ("EUR", "gift"), "count"): 1,
        ("orders", 120_000, ("EUR", "gift"), "sum"): 1,
        ("customers", 120_000, ("B",), "count"): 1,
        ("customers", 120_000, ("B",), "sum"): 1,
    }


def test_poison_is_a_dead_letter_with_its_reason_beside_what_is_good():
    outcome = judge(shard("p", at(0, MALFORMED, A, Poison("invalid")), at(1, B), at(2, BROKEN)))
    assert counted(outcome) == "AB"
    assert list(outcome.dead_letters.values()) == [["malformed", "invalid"], ["broken aggregate"]]


@pytest.mark.parametrize(
    ("arrived_at_ms", "reasons"),
    [(1_000_000, []), (1_000_001, ["too late"]), (-5_000_000, []), (-5_000_001, ["from the future"])],
)
def test_an_event_may_come_as_late_and_as_early_as_the_limits_and_no_more(arrived_at_ms, reasons):
    assert dead(judge(shard("p", at(arrived_at_ms, A)))) == reasons


def test_an_event_that_no_metric_counts_is_remembered_all_the_same():
    tick = Event("/tick", "1", 0, b"tick")
    outcome = judge(shard("p", at(0, tick), at(1, tick)))
    assert (outcome.counts, outcome.duplicates) == ({}, 1)


def test_orders_of_five_thousand_or_more_are_large():
    orders = event("A", amount=5_000), event("B", amount=Decimal("4999.99")), event("C", amount=10_000)
    assert judge(shard("p", at(0, *orders))).large == {("/s", "A"), ("/s", "C")}


def test_a_large_order_that_is_a_dead_letter_is_not_announced():
    outcome = judge(shard("p", at(0, A), at(1, event("A", "large now", amount=5_000))))
    assert (dead(outcome), outcome.large) == (["conflicting duplicate"], set())


# ── the KPL after a reshard ──


def test_a_child_drops_a_user_record_of_the_kpl_that_belongs_elsewhere():
    child = shard("c", aggregate(0, "a", (49, A), (50, B), (0, C), (99, MALFORMED)), of="p", keys=LEFT)
    outcome = judge(shard("p"), child)
    assert (counted(outcome), outcome.misplaced, dead(outcome)) == ("AC", 2, [])


def test_the_upper_child_takes_its_first_key_and_its_last():
    outcome = judge(shard("p"), shard("c", aggregate(0, "a", (49, A), (50, B), (99, C)), of="p", keys=RIGHT))
    assert (counted(outcome), outcome.misplaced) == ("BC", 1)


def test_a_shard_without_parents_drops_nothing():
    outcome = judge(shard("p", aggregate(0, "a", (49, A), (50, B)), keys=LEFT))
    assert (counted(outcome), outcome.misplaced) == ("AB", 0)


def test_what_another_aggregator_made_is_kept_whole():
    outcome = judge(shard("p"), shard("c", aggregate(0, "ada", (49, A), (50, B)), of="p", keys=LEFT))
    assert (counted(outcome), outcome.misplaced) == ("AB", 0)


def test_a_record_under_the_kpls_key_that_is_no_aggregate_is_kept():
    plain, broken = (Record(str(next(numbers)), 0, "a", b"", (UserRecord((piece,)),)) for piece in (A, BROKEN))
    outcome = judge(shard("p"), shard("c", plain, broken, of="p", keys=LEFT))
    assert (counted(outcome), dead(outcome), outcome.misplaced) == ("A", ["broken aggregate"], 0)


def test_a_misplaced_user_record_counts_where_it_is_sent_again():
    left = shard("l", aggregate(0, "a", (10, A), (60, B)), at(1, B), of="p", keys=LEFT)
    right = shard("r", aggregate(2, "a", (60, B)), of="p", keys=RIGHT)
    outcome = judge(
        shard("p"), left, right
    )  # l takes B too when it comes by itself: what was dropped is not remembered
    assert (counted(outcome), outcome.duplicates, outcome.misplaced) == ("ABB", 0, 1)


# ── an id that comes again ──


def test_the_same_event_again_is_dropped():
    outcome = judge(shard("p", at(0, A), at(1, B), at(2, A)))
    assert (counted(outcome), outcome.duplicates, dead(outcome)) == ("AB", 1, [])


def test_the_same_id_with_other_content_is_a_dead_letter():
    outcome = judge(shard("p", at(0, A), at(1, A2), at(2, A)))
    assert (counted(outcome), outcome.duplicates, dead(outcome)) == ("A", 1, ["conflicting duplicate"])


def test_events_of_one_record_are_judged_like_those_of_several():
    outcome = judge(shard("p", at(0, A, A, A2, B)))
    assert (counted(outcome), outcome.duplicates, dead(outcome)) == ("AB", 1, ["conflicting duplicate"])


def test_within_a_record_conflicts_come_after_all_that_is_bad_by_itself():
    late = event("late", time_ms=-2_000_000)
    outcome = judge(shard("p", at(0, A), at(1, A2, MALFORMED, A2, late)))
    assert dead(outcome) == ["malformed", "too late", "conflicting duplicate", "conflicting duplicate"]


def test_an_id_is_its_sources_own():
    outcome = judge(shard("p", at(0, A, event("A", "other", source="/t"))))
    assert (counted(outcome), dead(outcome)) == ("AA", [])


def test_ids_that_look_alike_when_strung_together_are_distinct():
    pairs = [
        ("s\0a", "b"),
        ("s", "a\0b"),
        ("s", "a"),
        ("s", "a\0"),
        ("sa", "b"),
        ("s", "ab"),
        ("s", "\xe9"),
        ("s", "e\u0301"),
    ]
    events = [Event(source, event_id, 0, b"text", A.order) for source, event_id in pairs]
    outcome = judge(shard("p", at(0, *events)), limits=Limits(lateness_ms=10, ids_max=60))
    assert counted(outcome) == "A" * len(pairs)


def test_what_was_not_counted_is_not_remembered():
    late, corrected = event("A", "late", time_ms=-2_000_000), event("A", "corrected")
    outcome = judge(shard("p", at(0, late), at(1, corrected), at(2, corrected)))
    assert (counted(outcome), dead(outcome), outcome.duplicates) == ("A", ["too late"], 1)


def test_an_event_that_became_too_late_is_a_dead_letter_and_no_duplicate():
    outcome = judge(shard("p", at(999_999, A), at(1_000_001, A)))
    assert (counted(outcome), dead(outcome), outcome.duplicates) == ("A", ["too late"], 0)


def test_the_same_id_on_two_unrelated_shards_is_counted_on_both():
    outcome = judge(shard("p", at(0, A), keys=LEFT), shard("q", at(1, A), keys=RIGHT))  # a limit that is documented
    assert (counted(outcome), outcome.duplicates) == ("AA", 0)


# ── the horizon ──


def test_the_horizon_takes_in_its_own_last_millisecond():
    outcome = judge(shard("p", at(0, A), at(HORIZON, A)))
    assert (counted(outcome), outcome.duplicates) == ("A", 1)


def test_one_millisecond_beyond_the_horizon_an_event_is_new():
    outcome = judge(shard("p", at(0, A), at(HORIZON + 1, A)))
    assert (counted(outcome), outcome.duplicates) == ("AA", 0)


def test_a_second_counting_beyond_the_horizon_is_the_new_first():
    #         counted  counted beyond       a duplicate of the second    conflicts with the second, not with the first
    records = at(0, A), at(HORIZON + 1, A2), at(2 * HORIZON + 1, A2), at(2 * HORIZON + 1, A)
    outcome = judge(shard("p", *records))
    assert (counted(outcome), outcome.duplicates, dead(outcome)) == ("AA", 1, ["conflicting duplicate"])


def test_a_duplicate_does_not_put_the_horizon_off():
    outcome = judge(shard("p", at(0, A), at(30_000, A), at(HORIZON + 1, A)))
    assert (counted(outcome), outcome.duplicates) == ("AA", 1)


def test_the_horizon_reaches_into_parents():
    parent = shard("p", at(0, A), at(1, B))
    outcome = judge(parent, shard("c", at(HORIZON + 1, A), at(HORIZON + 1, B), of="p"))
    assert (counted(outcome), outcome.duplicates) == ("AAB", 1)


# ── how many ids are remembered (three, here) ──


def test_an_id_is_remembered_while_fewer_than_ids_max_were_counted_after_it():
    assert judge(shard("p", at(0, A, B, C), at(1, A))).duplicates == 1
    assert counted(judge(shard("p", at(0, A, B, C, D), at(1, A)))) == "AABCD"


def test_only_countings_push_an_id_out():
    late = event("late", time_ms=-2_000_000)
    outcome = judge(shard("p", at(0, A, B), at(1, B, B, B, MALFORMED, late, A2), at(2, C), at(3, A)))
    assert (counted(outcome), outcome.duplicates) == ("ABC", 4)


def test_countings_earlier_in_the_same_record_push_an_id_out():
    assert counted(judge(shard("p", at(0, A), at(1, B, C, D, A)))) == "AABCD"


def test_the_way_into_a_parent_counts_what_lies_on_it():
    #   p: A B ── c: C A      two lie between
    assert judge(shard("p", at(0, A, B)), shard("c", at(1, C), at(2, A), of="p")).duplicates == 1
    #   p: A B ── c: C D A    three do
    assert counted(judge(shard("p", at(0, A, B)), shard("c", at(1, C, D), at(2, A), of="p"))) == "AABCD"


def test_the_way_into_a_grandparent_counts_the_shard_between():
    #   g: A ── p: B ── c: C A
    family = shard("g", at(0, A)), shard("p", at(1, B), of="g")
    assert judge(*family, shard("c", at(2, C, A), of="p")).duplicates == 1
    assert counted(judge(*family, shard("c", at(2, C, D, A), of="p"))) == "AABCD"


def test_a_merge_has_a_way_into_each_parent_of_its_own():
    #   p: A B ─┐
    #           ├─ c: E A C     what q counted does not push A out, nor what p counted C
    #   q: C D ─┘
    parents = shard("p", at(0, A, B), keys=LEFT), shard("q", at(0, C, D), keys=RIGHT)
    outcome = judge(*parents, shard("c", at(1, E, A, C), of="pq"))
    assert (counted(outcome), outcome.duplicates) == ("ABCDE", 2)


def test_nothing_is_remembered_when_nothing_may_be():
    assert counted(judge(shard("p", at(0, A, A)), limits=Limits(ids_max=0))) == "AA"


# ── parents and children ──


def test_a_child_knows_what_its_ancestors_counted():
    outcome = judge(shard("g", at(0, A)), shard("p", of="g"), shard("c", at(1, A, A2), of="p"))
    assert (counted(outcome), outcome.duplicates, dead(outcome)) == ("A", 1, ["conflicting duplicate"])


def test_a_child_does_not_know_what_its_sibling_counted():
    left, right = shard("l", at(1, A), of="p", keys=LEFT), shard("r", at(2, A), of="p", keys=RIGHT)
    assert counted(judge(shard("p"), left, right)) == "AA"


def test_a_shards_own_counting_comes_before_its_parents():
    family = shard("p", at(0, A)), shard("c", at(HORIZON + 1, A2), at(HORIZON + 2, A2, A), of="p")
    outcome = judge(*family)
    assert (counted(outcome), outcome.duplicates, dead(outcome)) == ("AA", 1, ["conflicting duplicate"])


@pytest.mark.parametrize("order", ["pq", "qp"])
def test_of_two_parents_countings_the_later_arrival_decides(order):
    parents = shard("p", at(5, A, number=90), keys=LEFT), shard("q", at(6, A2, number=80), keys=RIGHT)
    outcome = judge(*parents, shard("c", at(7, A2, A2, A, number=100), of=order))
    assert (counted(outcome), outcome.duplicates, dead(outcome)) == ("AA", 2, ["conflicting duplicate"])


@pytest.mark.parametrize("order", ["pq", "qp"])
def test_of_two_parents_countings_at_one_instant_the_higher_number_decides(order):
    parents = shard("p", at(5, A, number=9), keys=LEFT), shard("q", at(5, A2, number=10), keys=RIGHT)
    outcome = judge(*parents, shard("c", at(7, A2, A2, A, number=100), of=order))
    assert (counted(outcome), outcome.duplicates, dead(outcome)) == ("AA", 2, ["conflicting duplicate"])


def test_a_counting_that_one_parent_forgot_leaves_the_other_parents_to_decide():
    #   p: A ───────┐
    #               ├─ c: A A2      q counted its A later, and B C D after it
    #   q: A2 B C D ┘
    parents = shard("p", at(5, A), keys=LEFT), shard("q", at(6, A2, B, C, D), keys=RIGHT)
    outcome = judge(*parents, shard("c", at(7, A, A2), of="pq"))
    assert (outcome.duplicates, dead(outcome)) == (1, ["conflicting duplicate"])


def test_an_ancestor_that_is_reached_two_ways_is_remembered_if_it_is_on_one():
    #       ┌ l: B C D ┐
    #   g: A┤          ├ c: A
    #       └ r: E ────┘
    between = shard("l", at(1, B, C, D), of="g", keys=LEFT), shard("r", at(1, E), of="g", keys=RIGHT)
    outcome = judge(shard("g", at(0, A)), *between, shard("c", at(2, A), of="lr"))
    assert (counted(outcome), outcome.duplicates) == ("ABCDE", 1)
