"""Two database servers, one table of statements: tried on a real server, and held to a text."""

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

import format_readers
from box import ROOT
from database_fleet import template as template  # noqa: PLC0414 - a fixture
from database_servers import SERVER
from rolecall.database.dialect import Dialect
from rolecall.database.dialects import DIALECTS, MARIADB, MYSQL
from rolecall.forms.quoting import sql
from rolecall.host.roles import read_role
from rolecall.render.platforms import platforms
from rolecall.render.rendering import render
from rolecall.render.settings import RenderSettings
from samples import assigned

Ask = Callable[..., list[format_readers.Row]]
# What 8.4 knows no more, or warns of: "What Is New in MySQL 8.4 since MySQL 8.0" in its manual.
REMOVED = re.compile(
    r"master|slave|expire.logs.days|gtid.strict|binlog.format|default.authentication.plugin|mysql.native.password|"
    r"avoid.temporal.upgrade|innodb.log.file|log.bin.use.v1|relay.log.info|transaction.write.set|old$|^new$",
    re.IGNORECASE,
)
VALUES = {
    "host": "'127.0.0.1'",
    "port": "1",
    "user": sql("x"),
    "password": sql("a';\\"),
    "position": sql(SERVER.foreign_position),
    "seconds": "0",
    "channel": MARIADB.encrypted.clause,
    "certificate": "'/nowhere'",
}


@pytest.fixture(scope="module")
def ask(template: Path) -> Iterator[Ask]:
    with format_readers.database_server(template) as asks:
        yield asks


def texts(dialect: Dialect) -> dict[str, str]:
    """Every statement and every name of a column, by its key."""
    table = asdict(dialect)
    table |= dialect.clone._asdict() if dialect.clone else {}
    columns = dialect.status_columns._asdict()
    return {key: text for key, text in (table | columns).items() if isinstance(text, str)}


def filled(statement: str) -> str:
    return statement.format(**VALUES)


def placeholders(statement: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(statement) if name}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_entry_is_filled_in(name: str) -> None:
    assert [field.name for field in fields(Dialect) if getattr(DIALECTS[name], field.name) in ("", ())] == []
    assert all(DIALECTS[name].status_columns)


def test_both_take_the_same_values_and_a_state_has_the_same_columns() -> None:
    for key, statement in texts(MARIADB).items():  # MySQL has more: its clone
        assert placeholders(statement) == placeholders(texts(MYSQL)[key]), key
    assert re.findall(r" AS (\w+)", MARIADB.server_state) == re.findall(r" AS (\w+)", MYSQL.server_state)


def test_mysql_is_told_nothing_that_it_knows_no_more() -> None:
    assert [key for key, text in texts(MYSQL).items() if REMOVED.search(text)] == []
    assert len([key for key, text in texts(MARIADB).items() if REMOVED.search(text)]) > 10, "the old words are found"


def test_mysql_is_configured_with_nothing_that_it_knows_no_more() -> None:
    cnf = (ROOT / "tests/roles/database/master/expected/centos-mysql/mysql/server.cnf").read_text()
    options = [line.partition(" = ")[0] for line in cnf.splitlines() if re.match(r"[a-z]", line)]
    assert [option for option in options if REMOVED.search(option)] == []
    assert {"super-read-only", "gtid-mode", "rpl-semi-sync-source-timeout"} < set(options)
    assert "[mysqld]" in cnf


def test_a_variant_changes_names_that_its_platform_has_and_no_others() -> None:
    table = read_role(ROOT / "templates", "database").table
    tables = table.platform
    assert tables["centos-mysql"].keys() < tables["any"].keys() | tables["centos"].keys()
    assert sorted(table.packages) == platforms(table.platform)
    for name in platforms(table.platform):
        generation = render(read_role(ROOT / "templates", "database"), assigned(server="db1"), RenderSettings(name))
        assert generation.replication
        assert generation.replication.dialect in DIALECTS


def test_the_server_accepts_each_of_its_statements(ask: Ask) -> None:
    accepted = set()

    def tried(*keys: str) -> Any:
        for key in keys:
            accepted.add(key)
            answer = ask(filled(getattr(SERVER.dialect, key)))
        return answer

    def rotating() -> str:
        rows = ask(SERVER.dialect.accounts)
        return next(row[1] for row in rows if bytes.fromhex(row[0]).decode() == "x@127.0.0.1")

    assert tried("replica_status") == []
    tried("follow")
    [shown] = ask(filled(SERVER.dialect.replica_status))
    assert {"127.0.0.1", "1"} <= set(shown)
    tried("resume", "stop_receiver")
    assert tried("wait_for_position") == [[SERVER.late]], "what has not arrived is told"
    tried("reset_replica", "wait_for_acks", "stop_waiting_for_acks")
    tried("acknowledge", "stop_acknowledging", "set_read_only")
    assert len(tried("server_state")[0]) == 6
    assert tried("look") == [["ON 0,OFF"]], "read-only, nobody acknowledges, follows nobody, and nothing waits"
    tried("set_writable")
    ask(f"CREATE USER 'x'@'127.0.0.1' IDENTIFIED BY {sql('old')}")
    assert rotating() == "0"
    tried("accounts", "rotate")
    assert rotating() == "1", "two passwords are good"
    tried("rotate_again")
    assert rotating() == "1"
    tried("end_rotation")
    assert rotating() == "0"
    tried("before_restore", "after_restore")
    assert tried("shows_certificate") == [["0"]]
    for channel in (MARIADB.plain, MARIADB.encrypted, MARIADB.verified):
        ask(MARIADB.follow.format(**VALUES | {"channel": channel.clause.format(authority="'/a'")}))
        ask(filled(MARIADB.reset_replica))
    # Without a certificate there is nothing to read again: test_database_encryption has servers with theirs.
    others = {"status_columns", "refuses_lagging_upstream", "divergence_errors", "reload_certificate"}
    others |= {"plain", "encrypted", "verified", "clone"}
    assert accepted == {field.name for field in fields(Dialect)} - others


def test_the_server_has_each_of_the_columns_that_are_looked_at(ask: Ask, template: Path) -> None:
    ask(filled(SERVER.dialect.follow))
    words = ("--no-defaults", f"--socket={template}.sock", "--user=root", "--batch")
    output = format_readers.run(SERVER.client, *words, stdin=SERVER.dialect.replica_status)
    ask(filled(SERVER.dialect.reset_replica))
    names = output.decode().splitlines()[0].split("\t")
    assert {*SERVER.dialect.status_columns, "Last_IO_Errno", "Last_SQL_Errno", "Last_IO_Error"} <= set(names)


def test_what_came_from_several_servers_is_one_set_again_after_the_client_has_written_it(ask: Ask) -> None:
    position = "aaaa:1-5,\\nbbbb:7"  # --batch writes a line's end so
    inner = re.search(r"REPLACE\(.*?''\)", MYSQL.wait_for_position)
    assert inner
    assert ask(f"SELECT {inner[0].format(position=sql(position))}") == [["aaaa:1-5,bbbb:7"]]
