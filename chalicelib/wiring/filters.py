"""Which changes invoke the consumers of the aggregates table, as the definitions have it; no function loads this.

Whoever makes the mappings does: `make package`, the local stage by `app.py`, and the preflight, which compares.
"""

from chalicelib.aws.aggregates_filters import fan_out_patterns, rollup_patterns
from chalicelib.wiring.stage import CATALOG, WATCHED


def patterns() -> dict[str, list[str]]:
    """The patterns of each function's mapping, of which one has to match."""
    return {"rollup": rollup_patterns(CATALOG), "fan_out": fan_out_patterns(CATALOG, WATCHED)}
