"""A whole platform stands from one document: web servers in two zones, a replicated database, a cache and a monitor.

Booting it is the slow part, so that its tests share one; each leaves it well.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from baked import Images
from machine.container import Machine
from machine.fleet import ADDRESSES, BOOTED, DATABASES, SLOW, Fleet, Writers, fleet_of, nagios, problems, role_of

WEB, NAGIOS_LOG = ("web1", "web2"), "var/log/nagios4/nagios.log"
# munin-cron has not run in its first five minutes.
NOT_YET = "munin has gathered lately: /var/lib/munin/datafile does not exist"


@pytest.fixture(scope="module")
def fleet(memory: Path, images: Images, figure: Callable[[str], None]) -> Iterator[Fleet]:
    """Its machines, switched on at the same time and all ready; nobody has logged in. The product has its table."""
    roles = sorted({role_of(name) for name in BOOTED})
    images.begin(*roles)
    for role in roles:
        images.root(role)
    with fleet_of(BOOTED, images.root, images.keys, memory / "fleet", f"rcf{os.getpid()}") as made:
        made.world.publish()
        times = made.boot(*BOOTED)
        told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in times.items())
        figure(f"a fleet of {len(BOOTED)} machines, switched on together: ready {told}")
        assert made.ask("web1", "/install", "") == (200, "installed\n")
        yield made


def words_on(fleet: Fleet, name: str) -> set[str]:
    """All that was written, as a database server has it."""
    return set(fleet.sql(name, "SELECT word FROM blog.words").split())


def has(fleet: Fleet, name: str, words: set[str]) -> bool:
    """Whether a database server has all of these."""
    return words <= words_on(fleet, name)


def everywhere(fleet: Fleet, words: set[str]) -> None:
    """Wait until every database server has all of these."""
    fleet.each(DATABASES, lambda name, node: node.until(lambda: has(fleet, name, words)))


def chain(fleet: Fleet) -> dict[str, str]:
    """Of each database server: whether it is read-only, waits for acknowledgements, gives them."""
    ask = "SELECT @@read_only, @@rpl_semi_sync_master_enabled, @@rpl_semi_sync_slave_enabled"
    return {name: fleet.sql(name, ask).replace("\t", " ") for name in DATABASES}


def states(**states: str) -> dict[str, str]:
    """Of those that this run has booted."""
    return {name: state for name, state in states.items() if name in DATABASES}


def warnings(fleet: Fleet) -> set[str]:
    """What the last runs of all machines have told the store beside how they ended, and beside that nobody has taken
    the servers' certificates into the document.
    """
    reported = {warning for name in BOOTED for warning in fleet.world.reported(name)["warnings"]}
    return {
        warning for warning in reported if "(`rolecall fleet certificates` adds what servers report)" not in warning
    }


def test_all_become_ready_from_the_document_alone(fleet: Fleet) -> None:
    assert not any(fleet.each(BOOTED, lambda _, node: node.failed()).values())
    healthy = fleet.each(BOOTED, lambda _, node: node.rolecall("status")["healthy"])
    assert healthy == dict.fromkeys(BOOTED, True)
    # The master's first run comes before there is anybody to acknowledge; the next one sees to it.
    fleet.machines["db1"].until(lambda: warnings(fleet) <= {NOT_YET})


def test_what_is_written_through_one_web_server_is_read_through_the_other(fleet: Fleet) -> None:
    status, text = fleet.ask("web1", "/words", "hello")
    assert (status, text.split()[1]) == (200, "db1"), text
    everywhere(fleet, {"hello"})
    assert [fleet.ask(name, "/words") for name in WEB] == [(200, "db3: hello\n")] * 2, "a replica answers"
    if "cache1" in BOOTED:
        assert fleet.ask("web2", "/cache", "seen")[1] == "STORED\r\n"
        assert "\r\nseen\r\n" in fleet.ask("web1", "/cache")[1]


def test_jobs_and_people_reach_the_same_servers_by_the_products_own_file(fleet: Fleet) -> None:
    client = "runuser -u p-blog -- mariadb --defaults-file=/var/lib/rolecall/current/mysql/blog.cnf"
    ask = "--batch --skip-column-names --execute='SELECT @@report_host' blog"
    groups = ("_blog", "_blog_replica")
    named = [fleet.machines["web2"].run(f"{client} --defaults-group-suffix={group} {ask}") for group in groups]
    assert named == ["db1\n", "db3\n"]


def test_the_master_goes_on_only_with_what_the_candidate_has(fleet: Fleet) -> None:
    fleet.machines["db1"].until(lambda: chain(fleet)["db1"] == "0 1 0")
    assert chain(fleet) == states(db1="0 1 0", db2="1 0 1", db3="1 0 0", db4="1 0 0")


def test_a_promoted_database_is_followed_by_all_and_nothing_that_was_acknowledged_is_lost(
    fleet: Fleet, figure: Callable[[str], None]
) -> None:
    world, writers = fleet.world, Writers(fleet, WEB)
    try:
        # The old master and a web server have just looked: it takes writes from there long after others know better.
        writers.until(lambda: len(writers.acknowledged) > 100 and 1 < time.time() % SLOW["db1"] < 4)
        world.document["databases"]["blog"] |= {"epoch": 2, "master": "db2", "candidate": "db1"}
        world.publish()
        published = time.monotonic()
        writers.until(lambda: any(by == "db2" for _, _, by in writers.acknowledged))
        fleet.followed(*BOOTED)
        followed = time.monotonic()
        writers.until(lambda: writers.acknowledged[-1][0] > followed)
        assert [fleet.ask(name, "/")[1] for name in WEB] == ["db2\n", "db2\n"]
    finally:
        writers.stop()
    # Up to here nobody has been on any of the machines.
    last = max(when for when, _, by in writers.acknowledged if by == "db1")
    first = min(when for when, _, by in writers.acknowledged if by == "db2")
    figure(f"promotion by hand: first write on the new master {first - published:.1f} s after the document was "
           f"published, {first - last:.1f} s after the last one on the old; all had followed after "
           f"{followed - published:.1f} s; {len(writers.acknowledged)} writes acknowledged, "
           f"{len(writers.refused)} refused")  # fmt: skip
    acknowledged = {word for _, word, _ in writers.acknowledged}
    assert acknowledged <= words_on(fleet, "db2")
    everywhere(fleet, acknowledged)
    had = {name: words_on(fleet, name) for name in DATABASES}
    assert had == dict.fromkeys(DATABASES, had["db2"]), "no server has what the others do not"
    fleet.machines["db2"].until(lambda: chain(fleet)["db2"] == "0 1 0")
    assert chain(fleet) == states(db1="1 0 1", db2="0 1 0", db3="1 0 0", db4="1 0 0")
    assert not any(fleet.each(DATABASES, lambda _, node: node.failed()).values())


def gathers(node: Machine) -> None:
    """What munin-cron does every five minutes."""
    node.run("runuser -u munin -- /usr/share/munin/munin-update")


def gathered(node: Machine, host: str) -> bool:
    """Whether Munin keeps a figure of a host that is asked of every server."""
    return any((node.root / "var/lib/munin").glob(f"zone-*/*/{host}-load-load-*.rrd"))


@pytest.mark.long
def test_a_server_that_is_added_is_watched_without_anybodys_hand(fleet: Fleet, figure: Callable[[str], None]) -> None:
    world, monitor = fleet.world, fleet.machines["mon1"]
    monitor.until(lambda: not problems(nagios(monitor), ADDRESSES), 120)
    pid = monitor.pids("nagios4.service")
    fleet.introduce("web3", "10.77.0.13", products=["blog"])
    world.publish()
    published = time.monotonic()
    fleet.boot("web3")
    figure(f"a web server is added: ready {time.monotonic() - published:.1f} s after the document was published")
    fleet.machines["web3"].until(lambda: fleet.ask("web3", "/words", "from the third")[0] == 200)
    figure(f"a web server is added: its first write {time.monotonic() - published:.1f} s after that")
    monitor.until(lambda: not problems(nagios(monitor), [*ADDRESSES, "web3"]), 120)
    figure(f"a web server is added: all well on the monitor after {time.monotonic() - published:.1f} s")
    assert monitor.pids("nagios4.service") == pid
    assert ("web3", "product blog") in nagios(monitor)

    began = time.monotonic()
    gathers(monitor)
    figure(f"Munin gathers from nine machines in {time.monotonic() - began:.1f} s")
    assert {name: gathered(monitor, name) for name in [*ADDRESSES, "web3"]} == dict.fromkeys([*ADDRESSES, "web3"], True)


@pytest.mark.long
def test_a_monitor_outside_of_the_cloud_sees_that_the_one_inside_is_gone(fleet: Fleet) -> None:
    fleet.introduce_outside("mon2", "192.168.77.90")
    fleet.world.publish()
    fleet.boot("mon2")
    outside, inside = fleet.machines["mon2"], fleet.machines["mon1"]
    outside.until(lambda: not problems(nagios(outside), ["mon1", "mon2"]), 120)
    assert {host for host, _ in nagios(outside)} == {"mon1", "mon2"}, "others are the inner one's"
    inside.until(lambda: not problems(nagios(inside), ["mon2"]), 120)
    inside.cut()
    fleet.world.cable(inside.space, "down")
    outside.until(lambda: nagios(outside)["mon1", ""][0] != 0, 120)
    outside.until(lambda: "HOST NOTIFICATION: operators;mon1;DOWN" in (outside.root / NAGIOS_LOG).read_text(), 120)
    fleet.world.cable(inside.space, "up")
    fleet.boot("mon1")
    outside.until(lambda: not problems(nagios(outside), ["mon1"]), 120)
