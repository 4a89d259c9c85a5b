"""The power may fail in any phase of a run: the next boot ends ready, with the new configuration or the one before.

A phase is made long, the run is watched until it has come to it, and every process of the machine dies at once.
"""

import pytest

from machine.container import BOOT, READY, REFRESH, Machine
from machine.world import DOCUMENT, PREFIX
from sampling import some_of

# Programs that the run looks for in /usr/local first.
SLOW = '#!/bin/sh\ncase "$*" in *{word}*) sleep 60 ;; esac\nexec {program} "$@"\n'
PHASES = ("identify", "fetch", "stage", "rehearse", "activate", "self-test", "ready,")


def slow(node: Machine, phase: str) -> None:
    """Let this phase take longer than anybody waits."""
    world = node.world
    match phase:
        case "identify":
            world.imds.fault("delay", path_prefix="/latest/dynamic", seconds=60)
        case "fetch":
            world.s3.fault("delay", key=DOCUMENT, seconds=60)
        case "stage":
            world.s3.fault("delay", key=f"{PREFIX}/releases/*", seconds=60)
        case "rehearse":
            node.write("/usr/local/sbin/apache2ctl", SLOW.format(word="-t", program="/usr/sbin/apache2ctl"), 0o755)
        case "activate":
            node.write(
                "/usr/local/sbin/systemctl", SLOW.format(word="reload*apache2", program="/usr/bin/systemctl"), 0o755
            )
        case "ready,":  # proven, and the report is on its way
            world.s3.fault("delay", key=f"{PREFIX}/reports/*", method="PUT", seconds=60)


def usual(node: Machine) -> None:
    """All phases are as short as they are."""
    node.world.imds.heal()
    node.world.s3.heal()
    for name in ("apache2ctl", "systemctl"):
        (node.root / "usr/local/sbin" / name).unlink(missing_ok=True)


def product(node: Machine, version: str, phase: str) -> None:
    """The product blog; if its self-test is to be slow, by a check of a page that is."""
    node.world.product("blog", version)
    if phase == "self-test":
        node.world.document["products"]["blog"]["checks"] = [{"http": "/slow.php", "timeout": "60s"}]


def cut_in(node: Machine, unit: str, phase: str) -> None:
    """Wait until the run has come to a phase, then cut the power."""
    node.until(lambda: node.try_(f"systemctl show --value --property=StatusText {unit}").stdout.startswith(phase))
    node.cut()


def test_a_refresh_that_lost_power_in_any_phase_is_completed_by_the_next_boot(ready: Machine) -> None:
    world = ready.world
    for number, phase in enumerate(some_of(PHASES, 7), 2):
        product(ready, str(number), phase)
        world.product(f"new{number}")
        world.publish()
        slow(ready, phase)
        ready.run(f"systemctl start --no-block {REFRESH}")
        cut_in(ready, REFRESH, phase)
        usual(ready)
        if phase == "self-test":
            product(ready, str(number), "")
            world.publish()
        ready.boot()
        assert ready.failed() == [], f"{phase}\n{ready.log()}"
        assert ready.states(BOOT, READY) == ["active"] * 2, phase
        assert world.get("blog.example.com")[2].startswith(f"release={number} "), phase
        assert world.get(f"new{number}.example.com")[0] == 200, phase
        assert ready.rolecall("status")["healthy"], phase
        world.document["servers"]["web1"]["products"].remove(f"new{number}")
        del world.document["products"][f"new{number}"]


@pytest.mark.parametrize(
    "phase", ["activate", *(pytest.param(phase, marks=pytest.mark.long) for phase in ("stage", "self-test"))]
)
def test_a_first_boot_that_lost_power_is_completed_by_the_next(node: Machine, phase: str) -> None:
    world = node.world
    product(node, "1", phase)
    world.publish()
    slow(node, phase)
    node.boot(wait=False)
    cut_in(node, BOOT, phase)
    usual(node)
    product(node, "1", "")
    world.publish()
    node.boot()
    assert node.failed() == [], node.log()
    assert node.states(BOOT, READY) == ["active"] * 2
    assert world.get("blog.example.com")[2].startswith("release=1 ")
