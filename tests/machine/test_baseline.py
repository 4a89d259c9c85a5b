"""An image without a role: at its first boot a machine learns what it is for, and installs that.

Two tests with a role of three packages are for `make long`; those with all of the role `web` for `make machine-disk`.
"""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from baked import Images
from machine.apt_server import AptServer, packages_of, repository
from machine.container import BOOT, READY, Machine
from machine.qemu import slow
from machine.world import GATE, NODE

ROLE, MEMCACHED = "rolecall-role.service", "memcached@sessions.service"
DAEMONS = ("php8.2-fpm.service", "apache2.service", "cron.service", "munin-node.service")
NO_ROLE = "this is a baseline image, and nothing says what this machine is for\ngive it the tag rolecall:role"
WHY = "installs all of the role web, several times"
MULTI_USER = "etc/systemd/system/multi-user.target.wants"


@pytest.fixture(scope="module")
def baseline(images: Images) -> Path:
    """The image."""
    return images.root("baseline")


@pytest.fixture(scope="module")
def packages(memory: Path, baseline: Path) -> Iterator[Path]:
    """What these roles need above it."""
    with repository(memory, baseline, [*packages_of("web"), *packages_of("memcached")]) as folder:
        yield folder


@pytest.fixture
def apt(packages: Path) -> Iterator[AptServer]:
    """A source of packages that nobody has started."""
    server = AptServer(packages, GATE, 8334)
    yield server
    server.stop()
    assert server.mistakes == []


@pytest.fixture
def bare(new: Callable[[list[Path]], Machine], baseline: Path, apt: AptServer) -> Machine:
    """A machine that was never booted. Nothing says what it is for; only `apt` has packages."""
    node = new([baseline])
    apt.only_source_of(node.root)
    node.drop_in(ROLE, "[Service]\nRestartSec=1\n")
    return node


@pytest.fixture
def cache(bare: Machine) -> Machine:
    """The same; the document says that it is to be a memcached."""
    bare.world.document["servers"]["web1"]["role"] = "memcached"
    bare.world.document["caches"]["sessions"]["servers"] = ["web1"]
    bare.world.publish()
    return bare


def words(node: Machine, unit: str) -> str:
    """All that a unit's programs have said to the journal."""
    return "\n".join(str(record["MESSAGE"]) for record in node.journal(f"_SYSTEMD_UNIT={unit}"))


def becomes_ready(node: Machine) -> None:
    """Soon: packages are installed meanwhile, on a machine where others work too."""
    node.until(lambda: node.states(READY) == ["active"], 60)
    node.until(lambda: node.failed() == [], 60)
    assert not (node.root / "usr/sbin/policy-rc.d").exists(), "from here on packages start their services"


@pytest.mark.long
def test_a_machine_without_a_role_says_what_it_lacks_until_it_is_given_one(cache: Machine, apt: AptServer) -> None:
    cache.world.within(apt.start)
    cache.boot()
    assert cache.failed() == [BOOT]
    assert cache.states(ROLE, READY) == ["activating", "inactive"], "it goes on asking"
    assert NO_ROLE in words(cache, ROLE)
    assert "has not installed its role yet\nwhy: `journalctl -u rolecall-role`" in words(cache, BOOT)
    assert apt.requests == []

    cache.world.imds.data["user-data"] = '{"rolecall": {"role": "memcached"}}'
    becomes_ready(cache)
    assert cache.states(MEMCACHED) == ["active"]
    assert cache.world.within(version).startswith(b"VERSION 1.")


def version() -> bytes:
    """What memcached answers."""
    with socket.create_connection((NODE, 11211), 10) as connection:
        connection.sendall(b"version\r\n")
        return connection.recv(100)


@pytest.mark.long
def test_packages_that_cannot_be_had_are_asked_for_until_they_can_and_then_never_again(
    cache: Machine, apt: AptServer
) -> None:
    cache.world.imds.tags({"rolecall:role": "memcached"})
    cache.boot()
    assert cache.failed() == [BOOT]
    assert "Failed to fetch http://10.77.0.1:8334/./InRelease" in words(cache, ROLE), "the cause, not what came of it"
    cache.world.within(apt.start)
    becomes_ready(cache)
    assert cache.states(MEMCACHED) == ["active"]
    assert "setting  systemctl disable memcached.service" in words(cache, ROLE), "the journal has what was installed"

    apt.requests.clear()
    cache.reboot()
    assert cache.states(ROLE, BOOT, READY, MEMCACHED) == ["inactive", *["active"] * 3]
    assert apt.requests == []
    assert words(cache, ROLE).count("this machine has the role memcached") == 1


@slow(WHY)
def test_a_web_server_is_made_at_the_first_boot(bare: Machine, apt: AptServer, figure: Callable[[str], None]) -> None:
    world = bare.world
    world.within(apt.start)
    world.imds.tags({"rolecall:role": "web"})
    world.product("blog", cron=[{"name": "hourly", "schedule": "@hourly", "command": ["true"]}])
    world.publish()
    bare.boot()
    becomes_ready(bare)
    figure(f"a baseline image becomes a web server: ready {bare.booted:.1f} s after power on, packages from next door")
    serves(bare, apt)
    apt.requests.clear()
    bare.reboot()
    serves(bare, apt)
    assert apt.requests == []


def serves(node: Machine, apt: AptServer) -> None:
    """A web server, as one that was baked."""
    assert node.run("systemctl is-system-running").strip() == "running"
    assert node.states(BOOT, READY, *DAEMONS, "phpsessionclean.timer") == ["active"] * 7
    assert node.world.get("blog.example.com")[2].startswith("release=1 ")
    assert node.world.get("nobody.example.com")[0] == 404
    assert (node.world.reported()["outcome"], node.world.reported()["warnings"]) in [("ready", []), ("unchanged", [])]


@slow(WHY)
def test_an_installation_that_lost_power_is_completed_and_nothing_is_served_before(
    bare: Machine, apt: AptServer
) -> None:
    world, log = bare.world, bare.root / "var/log/dpkg.log"
    world.within(apt.start)
    world.imds.tags({"rolecall:role": "web"})
    world.product("blog")
    world.publish()
    for point in (
        lambda: "half-installed libicu72" in log.read_text(),
        lambda: "half-configured php8.2-common" in log.read_text(),
        (bare.root / MULTI_USER / "apache2.service").is_symlink,
    ):
        bare.boot(wait=False)
        bare.until(point, 60)
        bare.cut()
    assert (bare.root / "usr/sbin/policy-rc.d").exists(), "of the try that was cut off"
    bare.boot(wait=False)
    seen = {""}
    while "release=1" not in seen:
        assert time.monotonic() < bare.started + 90, bare.log()
        seen.add(page(bare))
    assert seen == {"", "release=1"}, "such as the distribution's own page"
    becomes_ready(bare)


def page(node: Machine) -> str:
    """The first word of the product's page; '' if nobody answers."""
    try:
        return node.world.get("blog.example.com")[2].split(maxsplit=1)[0]
    except OSError:
        return ""
