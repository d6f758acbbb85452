"""What the commands' arguments have in common: one that is wrong is told in one line, with exit code 2."""

import argparse
from typing import NoReturn

REFUSED = 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong with an argument of `python -m ops.<command>` in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(REFUSED, f"{self.prog.removeprefix('python -m ')}: {message}\n")


def count(text: str) -> int:
    """A whole number above 0."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return number


def seconds(text: str) -> float:
    """A time that ends."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return number


def url(text: str) -> str:
    """Where a service is: without the scheme, botocore raises something of its own."""
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is no URL: it begins with neither http:// nor https://")
    return text


def setting(text: str) -> tuple[str, str]:
    """A name and its value."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
