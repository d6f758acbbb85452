"""What can go wrong around the streams of tables, beside what can go wrong with any call."""

from dataclasses import dataclass

from tests.simulation.faults import Faults


@dataclass
class TableFaults(Faults):
    """The odds of each fault at each call, or at each invocation or tick."""

    doubled: float = 0.04  # another container handles the same records, or those around them, in the midst of a call
    effect_late: float = 0.05
    overtaken: float = 0.06  # others do their work in the midst of this call: other shards, other consumers, a tick
    forgotten: float = 0.05  # an invocation that nobody waits for goes on, while its records are delivered again
    landing: float = 0.1  # what callers have given up takes effect in the midst of this call
    refused_in_part: float = 0.15  # the stream takes some records of a request and refuses others
    told_late: float = 0.3  # a change is on a table's stream, and its readers do not get it yet
    tick_missed: float = 0.2
    tick_doubled: float = 0.2  # two ticks at once
    expired: float = 0.15  # an old item's time to live is over, between two steps
    topic_throttled: float = 0.15  # the topic takes nothing for some while
