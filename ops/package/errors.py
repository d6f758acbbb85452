"""What packaging refuses with."""


class PackageError(Exception):
    """The package cannot be made; the text is one line for whoever makes it."""
