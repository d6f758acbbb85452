"""What turns records into events, of the catalog's types and of Highwater's own."""

from collections.abc import Mapping

from msgspec import Struct

from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.windows import DURATION_MS_MAX
from chalicelib.consumers.handle import HANDLE_TYPE, HandleData
from chalicelib.consumers.tick import TICK_TYPE, TickData
from chalicelib.records.decode import Decoder, EventType

# Known to the decoder, counted by no metric.
INTERNAL_TYPES: dict[str, type[Struct]] = {TICK_TYPE: TickData, HANDLE_TYPE: HandleData}
NEVER_TOO_LATE_MS = DURATION_MS_MAX  # what a handler refused is redriven when somebody has mended the handler


def make_decoder(
    catalog: Catalog, lateness_ms: int, future_tolerance_ms: int, tables: Mapping[str, str] | None = None
) -> Decoder:
    """Make the decoder of the catalog's event types, and of Highwater's own; tables, by name, with theirs."""
    declared = {
        name: EventType(
            data_class,
            catalog.lateness_ms(name, lateness_ms),
            catalog.measured(name),
            catalog.dimensions(name),
            catalog.distinct(name),
        )
        for name, data_class in catalog.event_types.items()
    }
    internal = {name: EventType(data_class, NEVER_TOO_LATE_MS) for name, data_class in INTERNAL_TYPES.items()}
    return Decoder(declared | internal, future_tolerance_ms, tables)
