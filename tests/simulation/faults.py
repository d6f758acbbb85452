"""What can go wrong, how likely, and how often it truly did."""

from collections import Counter
from dataclasses import dataclass, field, fields
from random import Random


class Killed(BaseException):
    """The invocation's process ends here: nothing after this call happens, and nothing in memory survives."""


@dataclass
class Faults:
    """The odds of each fault at each call of a store, or at each invocation; all zero once `stop` is called.

    `fired` counts what truly happened: a run in which a fault never fires proves nothing about it.
    """

    throttled: float = 0.05  # the call has no effect and says so
    answer_lost: float = 0.05  # the call has its effect and says that it failed
    killed_before: float = 0.02  # the process dies, the call has no effect
    killed_after: float = 0.02  # the process dies, the call has its effect
    effect_late: float = 0.03  # the call seems to fail, and has its effect at some later moment
    doubled: float = 0.02  # a second container handles records of the same shard in the midst of this call
    cold: float = 0.1  # an invocation meets a new container
    out_of_time: float = 0.02  # an invocation has no time left when it would commit
    delivered_again: float = 0.1  # a batch that succeeded is delivered once more
    fired: Counter[str] = field(default_factory=Counter)

    def hits(self, chance: Random, name: str) -> bool:
        """Whether this fault happens now."""
        if chance.random() >= getattr(self, name):
            return False
        self.fired[name] += 1
        return True

    def stop(self) -> None:
        """From here on nothing goes wrong."""
        for name in self.names():
            setattr(self, name, 0.0)

    @classmethod
    def names(cls) -> list[str]:
        """What can go wrong."""
        return [each.name for each in fields(cls) if each.name != "fired"]
