"""The errors of Highwater, in three families: poison, transient, invariant.

Poison is the input's fault: it becomes a dead letter and never leaves the record's own handling, so it is no
exception of this module but data (`records.decode.Rejected`). Transient is the world's fault: checkpoint, retry.
Invariant is our fault: raise, loudly.

The text of such an error may leave the function: it goes to logs and traces as it is. So it names what is wrong, by
names of ours, of AWS and of positions, and quotes nothing of an event.
"""


class TransientError(Exception):
    """The world's fault (throttled, unreachable, out of time): the same work may well succeed later."""


class InvariantError(Exception):
    """Our fault: something that Highwater relies on does not hold. The invocation fails, loudly."""


class UnexpectedError(InvariantError):
    """Something raised what is none of our errors. Its text may quote an event, so this one's is its type alone."""


class OutOfOrderError(InvariantError):
    """A batch's records are not in rising sequence order, or are of more than one shard."""


class CorruptIdLogError(InvariantError):
    """An item of the id log cannot be read, so nobody can say which events are duplicates: the shard waits, loudly.

    docs/operations.md says what to do.
    """


class CorruptSketchError(InvariantError):
    """A stored sketch is not as it was written. Nobody can say what it counted; what is asked of it fails, loudly."""


class DefinitionError(InvariantError):
    """`definitions.py` declares something that cannot work; raised at import, naming the declaration."""


class DefinitionChangedError(InvariantError):
    """A stored partial was written under another definition of its metric. A changed metric needs a new name.

    Ingest fails by it; a query answers it as a problem, for whoever asks can see what to do.
    """


class SettingError(InvariantError):
    """A setting is missing or malformed; the message opens with its name."""
