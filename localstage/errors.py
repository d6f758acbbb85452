"""What keeps a local stage from starting. Each text is one line for whoever started it."""


class StageError(Exception):
    """The stage cannot start."""
