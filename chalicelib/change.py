"""The data of a change event: a row as it was and as it is now. Only this file knows what a metric sees of it.

A metric over an ordinary event type sees one row an event, its data. Of a change it sees up to two: the old row, taken
back, and the new one, added. So the sum over all windows is what a scan of the table would give.
"""

from typing import Any, Generic, TypeVar, get_args

import msgspec
from msgspec import Struct

Row = TypeVar("Row", bound=Struct)

SIGNS = "±"  # beside the columns of the rows' fields, and named like none: 1 for a new row, -1 for an old one


class Change(Struct, Generic[Row], frozen=True, gc=False):
    """A row came (old is null), changed, or went (new is null).

    `class OrderChanged(Change[Order], frozen=True, gc=False)` declares the data of an event type; rules are the row's.
    Both must be said: one that is left out by mistake would be counted as a row that came or went.
    """

    old: Row | None
    new: Row | None

    def __post_init__(self) -> None:
        if self.old is None and self.new is None:
            raise ValueError("neither old nor new is a row")


def row_class(data_class: type[Struct]) -> Any:
    """The class whose fields metrics look at: of a change its row's, of any other event its data's own."""
    if not issubclass(data_class, Change):
        return data_class
    (row_or_null,) = [field.type for field in msgspec.structs.fields(data_class) if field.name == "new"]
    return get_args(row_or_null)[0]
