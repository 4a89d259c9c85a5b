"""The accounts of a database: they come and go with servers, and nothing that they have defined breaks for others."""

import shutil
import subprocess
from pathlib import Path

from box import Box
from database_fleet import ADDRESSES, APP, PASSWORD, WRITER, Fleet
from database_fleet import fleet as fleet  # noqa: PLC0414 - a fixture
from database_fleet import template as template  # noqa: PLC0414 - a fixture
from patience import wait_until

OWN = "127.0.0.1"  # on loopback whoever connects has this address


def client(statement: str, *login: str) -> "subprocess.Popen[str]":
    """A client of db1, with a statement; it says in the end how it went."""
    argv = ["mariadb", "--no-defaults", "--batch", "--skip-column-names", *login, f"--execute={statement}"]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def login(fleet: Fleet, statement: str, user: str, password: str) -> "subprocess.Popen[str]":
    """From this machine's address, by the network."""
    place = f"--host={ADDRESSES['db1']}", f"--port={fleet.port}"
    return client(statement, f"--user={user}", f"--password={password}", *place)


def page(fleet: Fleet, statement: str) -> "subprocess.Popen[str]":
    """Of the web server that has this machine's address."""
    return login(fleet, statement, "p-blog", APP)


def web_server(fleet: Fleet, name: str, address: str) -> None:
    fleet.document["servers"][name] = {"role": "web", "address": address, "zone": "b", "products": ["blog"]}


def test_what_an_account_has_defined_works_for_others_when_its_web_server_leaves_and_it_returns_with_it(
    fleet: Fleet,
) -> None:
    """An account that has defined nothing goes, and one that defines nothing any more."""
    servers, product = fleet.document["servers"], fleet.document["products"]["blog"]
    product["environment"] = {"DB_USER": "o'b\\log"}
    web_server(fleet, "web2", "127.0.0.12")
    web_server(fleet, "web3", "127.0.0.13")
    fleet.become(replicas=[], candidate=None, snapshot=None)
    fleet.boot("db1")
    web1, web2 = (f"`o'b\\log`@`127.0.0.1{n}`" for n in (1, 2))
    fleet.sql(
        "db1",
        f"""
        CREATE TABLE blog.t (n INT); CREATE TABLE blog.log (n INT); GRANT EXECUTE ON blog.* TO {web1};
        CREATE DEFINER={web1} TRIGGER blog.noted AFTER INSERT ON blog.t FOR EACH ROW INSERT INTO blog.log VALUES (1);
        CREATE DEFINER={web1} FUNCTION blog.f() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM blog.t);
        CREATE DEFINER={web2} VIEW blog.v AS SELECT * FROM blog.t""",
    )
    gone = servers.pop("web1")
    del servers["web2"], servers["web3"], servers["db5"], product["environment"]
    web_server(fleet, "web4", OWN)
    fleet.publish()
    fleet.run("db1")
    locked = "SELECT Host, JSON_VALUE(Priv, '$.account_locked') FROM mysql.global_priv WHERE User LIKE 'o%' ORDER BY 1"
    assert fleet.sql("db1", locked) == "127.0.0.11\t1\n127.0.0.12\t1"
    request = page(fleet, "INSERT INTO blog.t VALUES (1); SELECT * FROM blog.v; SELECT * FROM blog.log")
    assert request.communicate()[0] == "1\n1\n"
    assert fleet.sql("db1", "SELECT blog.f()") == "1"
    fleet.sql("db1", "DROP VIEW blog.v")
    del servers["web4"]
    servers["web1"], product["environment"] = gone, {"DB_USER": "o'b\\log"}
    fleet.publish()
    fleet.run("db1")
    assert fleet.sql("db1", locked) == "127.0.0.11\t0", "the one that defines nothing any more is gone"


def test_writes_that_wait_leave_connections_for_the_candidate_and_the_agent(fleet: Fleet) -> None:
    fleet.document["servers"]["db5"]["products"] = ["blog"]
    fleet.become(replicas=["db5"], snapshot=None, max_connections=60)
    fleet.settle("db1", "db2")
    fleet.sql("db1", "SET GLOBAL max_connections = 12")  # as a server that nobody has restarted since it was raised
    fleet.become(max_connections=61)
    fleet.run("db1", "db2")
    fleet.kill("db2")
    wait_until(lambda: "Binlog Dump" not in fleet.sql("db1", "SHOW PROCESSLIST"), "its connection is free")
    insert = "INSERT INTO blog.t (k) VALUES ('k')"
    own = f"--user={WRITER}", f"--socket={fleet.socket('db1')}"
    clients = [page(fleet, insert) for _ in range(70)] + [client(insert, *own) for _ in range(20)]
    wait_until(lambda: sum(client.poll() is None for client in clients) == 4 + 10, "the others are refused")
    waiting = [client for client in clients if client.poll() is None]
    answers = [client.communicate()[0] for client in clients if client not in waiting]
    assert all("max_user_connections" in answer for answer in answers), answers
    look = fleet.nodes["db1"].rolecall("status", ok=False).stdout
    assert "blog: replication" in look
    assert "refused a statement" not in look, "the agent finds a connection"
    fleet.start("db2")
    fleet.follow("db2", "db1")
    assert [client.communicate()[0] for client in waiting] == [""] * len(waiting)
    assert fleet.sql("db1", "SELECT COUNT(*) FROM blog.t") == "14"


def shared_store(fleet: Fleet, *others: Box) -> Path:
    """One store for all, so that servers read each other's reports."""
    store = fleet.nodes["db1"].machine.store
    for node in (*fleet.nodes.values(), *others):
        if node.machine.store != store:
            shutil.rmtree(node.machine.store)
            node.machine.store.symlink_to(store)
    return store


def test_a_changed_password_and_the_one_before_are_good_until_every_server_has_reported_the_new(fleet: Fleet) -> None:
    """Of pages, then of replication."""
    fleet.document["servers"]["db5"]["products"] = ["blog"]
    (fleet.folder / "web1").mkdir()
    web = Box(fleet.folder / "web1", server="web1")
    reports = shared_store(fleet, web) / "reports"
    fleet.become(replicas=["db5"], snapshot=None)
    fleet.settle("db1", "db2")
    web.boot()

    def good(user: str, *passwords: str) -> list[bool]:
        return [login(fleet, "SELECT 1", user, password).communicate()[0] == "1\n" for password in passwords]

    def change(name: str, value: str) -> str:
        (fleet.folder / name).write_text(value)
        return fleet.nodes["db1"].rolecall("refresh").stderr

    (fleet.folder / "app").write_text("s3cret-2")
    assert "has a new value that db1 has not heard of: the old one stays" in web.rolecall("refresh").stderr
    assert "is good too until db5, web1 reports the new one" in change("app", "s3cret-2")
    assert good("p-blog", APP, "s3cret-2", "another") == [True, True, False]
    web.rolecall("refresh")
    assert "until db5 reports" in fleet.nodes["db1"].rolecall("refresh", "--secrets").stderr
    assert good("p-blog", APP, "s3cret-2") == [True, True]
    shutil.copy(reports / "web1.json", reports / "db5.json")  # nothing runs there: it stands for this machine's address
    assert "only the new blog.DB_PASSWORD is good now" in fleet.nodes["db1"].rolecall("refresh", "--secrets").stderr
    assert good("p-blog", APP, "s3cret-2") == [False, True]

    change("repl", "repl-2")
    fleet.sql("db2", "STOP SLAVE IO_THREAD; START SLAVE IO_THREAD")  # with the password that it has
    wait_until(lambda: "Yes" in fleet.sql("db2", "SHOW SLAVE STATUS\\G"), "it follows")
    assert good("rolecall_replication", PASSWORD, "repl-2") == [True, True]
    fleet.run("db2")
    shutil.copy(reports / "db2.json", reports / "db5.json")
    fleet.run("db1")
    fleet.nodes["db1"].rolecall("refresh", "--secrets")
    assert good("rolecall_replication", PASSWORD, "repl-2") == [False, True]
    fleet.sql("db1", "INSERT INTO blog.t (k) VALUES ('on')")
    fleet.arrives("db1", "db2")

    change("app", "s3cret-3")
    a_day = "JSON_SET(Priv, '$.password_last_changed', UNIX_TIMESTAMP() - 86401)"
    fleet.sql("db1", f"UPDATE mysql.global_priv SET Priv = {a_day} WHERE User = 'p-blog'")
    assert "a day is over, and db5, web1 did not report" in fleet.nodes["db1"].rolecall("refresh", "--secrets").stderr
    assert good("p-blog", "s3cret-2", "s3cret-3") == [False, True]
    for path in reports.glob("*.json"):
        assert "s3cret" not in path.read_text()
