"""The same on a machine in the shape of a CentOS, where the agent is the RPM's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from builds import VERSION
from machine.centos import SERVICES, rpm
from machine.container import REFRESH, Machine


@pytest.fixture
def centos(new: Callable[[list[Path]], Machine], centos_image: list[Path]) -> Machine:
    """A machine that was never booted."""
    return new(centos_image)


def test_a_centos_boots_to_ready_and_follows_its_document_gracefully(centos: Machine) -> None:
    world = centos.world
    world.product("blog", cron=[{"name": "hourly", "schedule": "@hourly", "command": ["true"]}])
    world.publish()
    centos.boot()
    assert rpm(centos.root, "--query", "--file", "/usr/bin/rolecall").startswith(f"rolecall-{VERSION}-1.el10.")
    assert rpm(centos.root, "--verify", "--nodeps", "rolecall") == "", "all of it is as the RPM has it"
    assert centos.try_("dpkg --status rolecall").returncode != 0, "and nothing is Debian's"
    assert centos.run("/usr/bin/python3 --version").startswith("Python 3.12.")
    assert centos.run("systemctl is-system-running").strip() == "running", centos.log()
    assert "release=1 " in world.get("blog.example.com")[2]
    assert centos.states(*SERVICES, "munin-node.service") == ["active"] * 4
    finished = centos.journal("UNIT=httpd-init.service", "JOB_RESULT=done")[0]["__MONOTONIC_TIMESTAMP"]
    started = centos.journal("UNIT=httpd.service", "JOB_RESULT=done")[0]["__MONOTONIC_TIMESTAMP"]
    assert int(finished) < int(started), "httpd was started before what it is ordered after"

    masters = centos.pids("httpd.service", "php-fpm.service")
    world.document["databases"]["blog"] |= {"epoch": 2, "master": "db2", "candidate": "db1"}
    world.product("shop", "7")
    world.publish()
    assert centos.refresh() == 0, centos.log()
    assert "release=1 " in world.get("blog.example.com")[2]
    assert "master=db2" in world.get("blog.example.com")[2]
    assert "release=7 " in world.get("shop.example.com")[2]
    assert centos.pids("httpd.service", "php-fpm.service") == masters, "a reload keeps the master"
    assert centos.failed() == []
    assert centos.show(REFRESH, "Result") == "success"
