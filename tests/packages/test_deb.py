"""The package for Debian 12, really installed, upgraded and removed by dpkg in a Debian 12."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator

import pytest

from builds import NEXT, VERSION, Builds
from packages.debian import Root, fresh_root
from packages.test_contents import SERVICES

CLIENTS = """
import sys
sys.path.insert(0, "/usr/lib/rolecall/site")
import boto3, zstandard
for service in sys.argv[1:]:
    client = boto3.client(service, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    print(client.meta.endpoint_url)
from systemd import daemon
print(daemon.__file__, {module.__file__.split("/site/")[0] for module in (boto3, zstandard)})
"""


@pytest.fixture(scope="module")
def root() -> Iterator[Root]:
    """A Debian 12 without the package; the tests of this file take turns at it, from installation to removal."""
    with fresh_root() as made:
        yield made


def stays(root: Root) -> list[str]:
    """What of ours is there, but for what dpkg remembers."""
    found = root.says("find", "/etc", "/usr", "/var", "/run", "-xdev", "-name", "*rolecall*", "-prune")
    return sorted(name for name in found.splitlines() if not name.startswith("/var/lib/dpkg/"))


def test_it_installs_and_makes_its_folders_and_its_group_but_starts_nothing(root: Root, builds: Builds) -> None:
    done = root.run("dpkg", "--install", root.take(builds.package("debian-12")))
    assert "systemctl" not in done.stderr
    folders = "/etc/rolecall", "/run/rolecall", "/var/lib/rolecall", "/var/lib/rolecall/reports"
    assert root.says("stat", "-c", "%a %U:%G", *folders).splitlines() == [
        "755 root:root", "755 root:root", "755 root:root", "2750 root:rolecall",
    ]  # fmt: skip
    assert root.says("dpkg", "--verify", "rolecall") == ""
    assert root.says("rolecall", "--version") == f"rolecall {VERSION}"


def test_every_unit_is_enabled_as_the_preset_says(root: Root) -> None:
    states = root.units()
    assert states["rolecall-boot.service"] == states["rolecall-refresh.timer"] == "enabled"
    assert set(states.values()) <= {"enabled", "static"}


def test_it_plans_any_server_with_the_roles_that_it_brings(root: Root) -> None:
    root.node()
    document = json.loads((root.path / "srv/store/fleet.json").read_text())
    document["servers"]["web1"]["role"] = "web"
    root.write("/root/fleet.json", json.dumps(document))
    plan = root.says("rolecall", "plan", "--fleet", "/root/fleet.json", "--as", "web1", "--platform", "debian")
    assert "apache/00-base.conf" in plan
    assert not (root.path / "var/lib/rolecall/generations").exists()


def test_its_libraries_are_its_own_and_systemd_is_the_distributions(root: Root) -> None:
    root.write("/root/clients.py", CLIENTS)
    # Whoever looks elsewhere first, finds these.
    poison = "raise SystemExit('a package of somebody else')"
    for name in ("boto3", "jinja2", "pydantic", "chardet", "simplejson"):
        root.write(f"/usr/lib/python3/dist-packages/{name}.py", poison)
        root.write(f"/root/.local/lib/python3.11/site-packages/{name}.py", poison)
        root.write(f"/root/path/{name}.py", poison)
    services = sorted(SERVICES)
    found = root.says("/usr/bin/python3", "-IBS", "/root/clients.py", *services, PYTHONPATH="/root/path").splitlines()
    assert all(line.startswith("https://") and line.endswith(".amazonaws.com") for line in found[:-1])
    assert len(found) == len(services) + 1
    assert found[-1] == "/usr/lib/rolecall/site/systemd/daemon.py {'/usr/lib/rolecall'}"
    assert poison not in root.says("rolecall", "doctor", ok=False, PYTHONPATH="/root/path")
    assert root.says("rolecall", "--version", PYTHONPATH="/root/path") == f"rolecall {VERSION}"


def test_a_node_boots_with_it_and_nothing_is_written_where_it_lies(root: Root) -> None:
    root.run("rolecall", "boot")
    assert (root.path / "var/lib/rolecall/current/site/index.html").read_text() == "zone a\n"
    (report,) = root.says("ls", "-l", "/var/lib/rolecall/reports").splitlines()[1:]
    assert report.startswith("-rw-r----- 1 root rolecall ")
    before = root.says("find", "/usr/lib/rolecall", "-newer", "/etc/rolecall/agent.toml")
    assert before == ""
    assert root.says("dpkg", "--verify", "rolecall") == ""


def test_a_refresh_that_changes_nothing_costs_little_more_than_the_start_of_python(root: Root) -> None:
    assert root.says("rolecall", "refresh") == ""
    bare, own = ["/usr/bin/python3", "-IS", "-c", "pass"], ["/usr/bin/rolecall", "refresh"]
    code = f"""
import os, subprocess, sys, time
os.chroot(sys.argv[1])
os.chdir("/")
for _ in range(60):
    for argv in ({bare}, {own}):
        start = time.perf_counter()
        subprocess.run(argv, check=True)
        print(time.perf_counter() - start)
"""
    argv = [sys.executable, "-c", code, str(root.path)]
    times = [float(line) for line in subprocess.check_output(argv, text=True).split()]
    ratio = statistics.median(times[1::2]) / statistics.median(times[::2])
    print(f"\na refresh that changes nothing: {ratio:.2f} times the start of Python")
    assert ratio < 2


def test_an_upgrade_keeps_what_the_operator_chose_and_follows_the_preset_for_what_is_new(
    root: Root, builds: Builds
) -> None:
    root.run("systemctl", "disable", "rolecall-refresh.timer")
    state = root.says("find", "/var/lib/rolecall", "/run/rolecall", "/etc/rolecall", "-printf", "%p %m %u:%g %T@ %i\n")
    root.run("dpkg", "--install", root.take(builds.package("debian-12", "newer")))
    assert root.says("rolecall", "--version") == f"rolecall {NEXT}"
    units = root.units()
    assert units["rolecall-refresh.timer"] == "disabled"
    assert units["rolecall-boot.service"] == units["rolecall-new.service"] == "enabled"
    after = root.says("find", "/var/lib/rolecall", "/run/rolecall", "/etc/rolecall", "-printf", "%p %m %u:%g %T@ %i\n")
    assert after == state
    root.run("systemctl", "enable", "rolecall-refresh.timer")
    root.run("rolecall", "refresh")


def test_a_removal_leaves_settings_and_state_and_nothing_else(root: Root) -> None:
    current = root.says("readlink", "/var/lib/rolecall/current")
    done = root.run("dpkg", "--remove", "rolecall")
    assert "rolecall" not in done.stderr
    assert stays(root) == ["/etc/rolecall", "/run/rolecall", "/var/lib/rolecall"]
    assert root.says("readlink", "/var/lib/rolecall/current") == current
    assert (root.path / "etc/rolecall/agent.toml").exists()
    assert not (root.path / "usr/lib/rolecall").exists()


def test_after_a_removal_it_installs_as_on_a_new_machine(root: Root, builds: Builds) -> None:
    root.write("/etc/systemd/system-preset/10-image.preset", "disable rolecall-refresh.timer\n")
    root.run("dpkg", "--install", root.take(builds.package("debian-12")))
    units = root.units()
    assert (units["rolecall-boot.service"], units["rolecall-refresh.timer"]) == ("enabled", "disabled")
    assert "unchanged: generation" in root.says("rolecall", "refresh")


def test_purged_it_says_what_it_leaves(root: Root) -> None:
    said = root.says("dpkg", "--purge", "rolecall")
    assert "rolecall leaves /etc/rolecall, /var/lib/rolecall with the products' data, and the group rolecall." in said
    assert stays(root) == ["/etc/rolecall", "/var/lib/rolecall"]
    assert root.says("find", "/etc/systemd", "/var/lib/systemd", "-name", "*rolecall*") == ""
