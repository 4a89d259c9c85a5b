"""Who may be promoted: never a server that only believes to have every write that was acknowledged."""

import socketserver
import threading
from collections.abc import Iterator

import pytest

from database_fleet import Fleet
from database_fleet import fleet as fleet  # noqa: PLC0414 - a fixture
from database_fleet import template as template  # noqa: PLC0414 - a fixture
from patience import wait_until


class Stranger(socketserver.BaseRequestHandler):
    """A database server that knows nobody, as one that was never a part of this database."""

    def handle(self) -> None:
        """Its greeting is an error packet: length, number, 0xff, code (the protocol's ERR_Packet)."""
        body = b"\xff" + (1130).to_bytes(2, "little") + b"Host '127.0.0.1' is not allowed to connect"
        self.request.sendall(len(body).to_bytes(3, "little") + b"\0" + body)


@pytest.fixture(autouse=True)
def fifth(fleet: Fleet) -> Iterator[None]:
    """The server db5, whose address everybody here connects from."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", fleet.port), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def write(fleet: Fleet, name: str, key: str) -> None:
    """A write that is acknowledged."""
    client = fleet.waiting_write(name, key)
    assert client.communicate(timeout=30)[0].split() == [key]


def test_a_candidate_that_its_master_has_gone_on_without_is_not_promoted_while_others_are_silent(fleet: Fleet) -> None:
    fleet.become(replicas=["db3", "db5"], snapshot=None)
    fleet.settle("db1", "db2", "db3")
    fleet.run("db2")
    with fleet.frozen("db2"):
        fleet.become(candidate=None, replicas=["db2", "db3", "db5"])
        fleet.run("db1", "db3")
        write(fleet, "db1", "acknowledged")
        wait_until(lambda: "acknowledged" in fleet.keys("db3"), "db3 has it")
        fleet.kill("db1")
    with fleet.frozen("db3"):
        fleet.become(epoch=2, master="db2", candidate=None, replicas=["db1", "db3", "db5"])
        message = fleet.nodes["db2"].rolecall("refresh", ok=75).stderr
        assert "does not answer, and may have writes that this server lacks" in message
        assert fleet.duty("db2")[0] == "1"
    fleet.become(replicas=["db3", "db5"])  # a person says that db1 is lost
    fleet.follow("db2")
    assert "acknowledged" in fleet.keys("db2")
    fleet.follow("db3")
    assert "acknowledged" in fleet.keys("db3")
    write(fleet, "db2", "goes-on")


def test_a_master_of_earlier_times_that_has_missed_its_successor_does_not_go_on_where_it_was(fleet: Fleet) -> None:
    """It is named master again before it has heard that another one was: it closes, and gets what that one has."""
    fleet.become(replicas=["db3", "db5"], snapshot=None)
    fleet.settle("db1", "db2", "db3")
    fleet.run("db2")
    with fleet.frozen("db1"):
        fleet.become(epoch=2, master="db2", candidate="db3", replicas=["db1", "db5"])
        fleet.follow("db2", "db3", "db2")
        write(fleet, "db2", "of-the-successor")
    assert fleet.duty("db1")[0] == "0", "it has heard of nothing"
    fleet.become(epoch=3, master="db1", candidate="db2", replicas=["db3", "db5"])
    assert "still takes writes" in fleet.nodes["db1"].rolecall("refresh", ok=75).stderr
    fleet.run("db2", "db3", ok=False)  # db1 may lack what they have
    fleet.follow("db1")
    assert "of-the-successor" in fleet.keys("db1")
    fleet.follow("db2", "db1")
    write(fleet, "db1", "goes-on")
    fleet.arrives("db1", "db2")


def test_a_master_does_not_close_for_a_successor_that_cannot_take_over(fleet: Fleet) -> None:
    fleet.become(replicas=["db3", "db5"], snapshot=None)
    fleet.settle("db1", "db2", "db3")
    fleet.run("db2")
    fleet.sql("db3", "STOP SLAVE SQL_THREAD")
    fleet.become(epoch=2, master="db3", candidate="db2", replicas=["db1", "db5"])
    message = fleet.nodes["db1"].rolecall("refresh", ok=75).stderr
    assert "db3 cannot take over yet: it does not follow its upstream" in message
    write(fleet, "db1", "meanwhile")
    fleet.sql("db3", "START SLAVE SQL_THREAD")
    fleet.run("db1", "db2", ok=False)
    fleet.follow("db3", "db2", "db1")
    assert "meanwhile" in fleet.keys("db3")


def test_a_planned_promotion_does_not_wait_for_an_unrelated_server_that_is_lost(fleet: Fleet) -> None:
    fleet.become(replicas=["db3", "db4", "db5"], snapshot=None)
    fleet.settle("db1", "db2", "db3", "db4")
    fleet.publish()
    fleet.kill("db4")
    fleet.become(epoch=2, master="db3", candidate="db2", replicas=["db1", "db4", "db5"])
    fleet.run("db1", "db2", ok=False)
    fleet.follow("db3", "db2", "db1")
    assert fleet.duty("db3")[0] == "0"


def test_a_master_whose_disk_was_replaced_does_not_open_empty_while_the_others_are_silent(fleet: Fleet) -> None:
    fleet.become(replicas=["db3", "db5"], snapshot=None)
    fleet.settle("db1", "db2", "db3")
    write(fleet, "db1", "acknowledged")
    fleet.publish()
    fleet.replace_disk("db1")
    with fleet.frozen("db2", "db3"):
        assert "does not answer" in fleet.nodes["db1"].rolecall("refresh", ok=75).stderr
        assert fleet.duty("db1")[0] == "1"
    assert "has no data, but" in fleet.nodes["db1"].rolecall("refresh", ok=75).stderr


def test_a_former_master_that_was_replaced_does_not_speak_for_the_one_that_it_was(fleet: Fleet) -> None:
    fleet.become(replicas=["db3", "db5"], snapshot=None)
    fleet.settle("db1", "db2", "db3")
    fleet.publish()
    fleet.sql("db3", "STOP SLAVE IO_THREAD")
    write(fleet, "db1", "acknowledged")
    fleet.replace_disk("db1")
    with fleet.frozen("db2"):
        fleet.become(epoch=2, master="db3", candidate=None, replicas=["db1", "db2", "db5"])
        fleet.run("db3", "db1", "db1", ok=False)  # db1 may have restored itself from db3 by now
        assert "may have writes that this server lacks" in fleet.nodes["db3"].rolecall("refresh", ok=75).stderr
    fleet.run("db2", ok=False)
    fleet.follow("db3")
    assert "acknowledged" in fleet.keys("db3")
