"""What the commands of this room have in common: ports as arguments, and running until Ctrl-C."""

import argparse
import signal
import threading
from typing import NoReturn

PORT_MAX = 65_535
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def port(text: str) -> int:
    """A port; 0 stands for a free one."""
    number = int(text)
    if not 0 <= number <= PORT_MAX:
        raise argparse.ArgumentTypeError(f"{number} is no port from 0 to {PORT_MAX}")
    return number


def interrupt_on_signals() -> None:
    """Have SIGTERM do what Ctrl-C does: raise KeyboardInterrupt."""
    for stop_signal in STOP_SIGNALS:
        signal.signal(stop_signal, _interrupt)


def wait_for_a_signal() -> None:
    """Wait until one comes.

    Raises: KeyboardInterrupt then.
    """
    try:
        threading.Event().wait()
    finally:
        # From here on it stops; a second, impatient Ctrl-C would only interrupt that.
        for stop_signal in STOP_SIGNALS:
            signal.signal(stop_signal, signal.SIG_IGN)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
