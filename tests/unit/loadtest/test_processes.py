"""Where a master can listen is known before anything is started, and workers of this machine find it there."""

import socket

import pytest

from loadtest.processes import seen_from_here, why_not_bound


def test_a_free_port_of_this_machine_will_do():
    assert why_not_bound("127.0.0.1", 0) is None
    assert why_not_bound("*", 0) is None


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = why_not_bound("127.0.0.1", taken.getsockname()[1])
    assert told.startswith("nothing can listen there: Address already in use")


@pytest.mark.parametrize("host", ["203.0.113.7", "nowhere.invalid"])
def test_an_address_that_is_not_this_machines_is_told(host):
    assert why_not_bound(host, 0).startswith("nothing can listen there: ")


@pytest.mark.parametrize(
    ("bound", "asked"),
    [("192.0.2.2", "192.0.2.2"), ("127.0.0.1", "127.0.0.1"), ("*", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")],  # noqa: S104
)
def test_workers_of_this_machine_ask_where_the_master_listens(bound, asked):
    assert seen_from_here(bound) == asked
