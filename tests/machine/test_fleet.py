"""A whole platform stands from one document: web servers in two zones, a replicated database, a cache and a monitor."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from baked import Images
from machine.fleet import ADDRESSES, DATABASES, Fleet, Writers, fleet_of

WEB = ("web1", "web2")


@pytest.fixture(scope="module")
def fleet(memory: Path, images: Images, figure: Callable[[str], None]) -> Iterator[Fleet]:
    """Eight machines, all ready; nobody has logged in."""
    images.begin("database", "memcached", "monitor")
    for role in ("database", "memcached", "monitor"):
        images.root(role)
    with fleet_of(ADDRESSES, images.root, images.keys, memory / "fleet", f"rcf{os.getpid()}") as made:
        made.world.publish()
        times = made.boot(*ADDRESSES)
        told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times.items())
        figure(f"a fleet of eight machines, switched on together: ready {told}")
        yield made


def test_all_eight_become_ready_from_the_document_alone(fleet: Fleet) -> None:
    failed = fleet.each(tuple(ADDRESSES), lambda node: node.failed())
    assert failed == dict.fromkeys(ADDRESSES, [])
    healthy = fleet.each(tuple(ADDRESSES), lambda node: node.rolecall("status")["healthy"])
    assert healthy == dict.fromkeys(ADDRESSES, True)
