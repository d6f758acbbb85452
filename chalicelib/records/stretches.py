"""Where a batch's records are in what was decoded of them: nearly always one a record, or a stretch of plain ones.

What is seldom asked of a single record (it repeats an id, a handler refuses it, a store fails) is found by its place in
the batch; only then is a stretch cut. An event cut out is read again when it is folded, like one of a record that had
repeats in it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate

from msgspec.structs import replace

from chalicelib.records.decode import Decoded


def records_in(decoded: Sequence[Decoded]) -> int:
    """How many records these are of."""
    return sum([each.records for each in decoded])


def placed(decoded: Sequence[Decoded]) -> Iterator[tuple[int, Decoded]]:
    """Each, behind the place in the batch of its first record."""
    return zip(accumulate([each.records for each in decoded], initial=0), decoded, strict=False)


def first_of(decoded: Sequence[Decoded], records: int) -> Sequence[Decoded]:
    """What the batch's first so many records hold."""
    kept: list[Decoded] = []
    for start, each in placed(decoded):
        if start >= records:
            break
        kept.append(each if start + each.records <= records else _between(each, 0, records - start))
    return kept


def one_by_one(decoded: Sequence[Decoded]) -> Iterator[Decoded]:
    """What each record holds by itself."""
    for each in decoded:
        if each.records == 1:
            yield each
        else:
            yield from (_between(each, place, place + 1) for place in range(each.records))


def change(
    decoded: Sequence[Decoded], places: Collection[int], changed: Callable[[int, Decoded], Decoded]
) -> list[Decoded]:
    """The same with what the records at these places hold changed.

    Shapes: changed is called with a place and what the record there holds by itself.
    """
    result: list[Decoded] = []
    left = sorted(places, reverse=True)
    for start, each in placed(decoded):
        done = 0  # of its records
        while left and left[-1] < start + each.records:
            place = left.pop()
            if done < place - start:
                result.append(_between(each, done, place - start))
            done = place - start + 1
            result.append(changed(place, _between(each, done - 1, done)))
        if done < each.records:
            result.append(_between(each, done, each.records))
    return result


def _between(stretch: Decoded, start: int, end: int) -> Decoded:
    if end - start == stretch.records:
        return stretch
    return replace(
        stretch,
        texts=stretch.texts[start:end],
        numbers=stretch.numbers[start:end],
        identities=stretch.identities[start:end],
        contents=stretch.contents[start:end],
        parts=(),
        events=stretch.events[start:end],
        records=end - start,
    )
