"""The accounts of a database: they come and go with servers, and nothing that they have defined breaks for others."""

import subprocess

from database_fleet import APP, Fleet
from database_fleet import fleet as fleet  # noqa: PLC0414 - a fixture
from database_fleet import template as template  # noqa: PLC0414 - a fixture

OWN = "127.0.0.1"  # on loopback whoever connects has this address


def as_product(fleet: Fleet, statement: str, *, password: str = APP) -> "subprocess.CompletedProcess[str]":
    """As the product's account, from the web server whose address this machine has."""
    argv = ["mariadb", "--no-defaults", "--host=127.0.0.21", f"--port={fleet.port}", "--user=p-blog", "--batch",
            "--skip-column-names", f"--password={password}"]  # fmt: skip
    return subprocess.run(argv, input=statement, capture_output=True, text=True, timeout=60, check=False)


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
    page = as_product(fleet, "INSERT INTO blog.t VALUES (1); SELECT * FROM blog.v; SELECT * FROM blog.log")
    assert (page.stdout, page.stderr) == ("1\n1\n", "")
    assert fleet.sql("db1", "SELECT blog.f()") == "1"
    fleet.sql("db1", "DROP VIEW blog.v")
    del servers["web4"]
    servers["web1"], product["environment"] = gone, {"DB_USER": "o'b\\log"}
    fleet.publish()
    fleet.run("db1")
    assert fleet.sql("db1", locked) == "127.0.0.11\t0", "the one that defines nothing any more is gone"
