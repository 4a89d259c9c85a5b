"""Any string that reaches a database server by its client is refused, or the server has it as it was written.

The server's client is in the way, which has commands of its own: it reads standard input, as it does from the agent.
"""

import getpass
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import format_readers
from database_fleet import template as template  # noqa: PLC0414 - a fixture
from database_servers import SERVER
from readers.test_hostile_values import NASTY
from rolecall.forms.quoting import FORMATS, sql, sql_grant, sql_password, sql_user
from rolecall.render.generation import Generation
from rolecall.render.rendering import render
from samples import ANY_TEXT, DATABASE, accepts, assigned, edited, fuzz, render_settings, text_of

# What means something to the client, to the server in one of its modes, or to whoever joins strings.
HOSTILE = [
    *NASTY, r"\g", r"\G", r"\! touch x", r"\. /etc/passwd", r"\u mysql", r"\T /dev/null", r"\d //", r"\q",
    "delimiter //", "DELIMITER ;;", "source /etc/passwd", "system id", "quit", "exit", "charset latin1", "--",
    "-- x", "a -- b", "#",
    "/*", "*/", "/*! SELECT 1 */", "/*M!100000 x */", "; DROP TABLE x; --", "' OR '1'='1", "\\' OR 1=1 -- ", "\\\\'",
    "'\\", "\\'\\", "''\\''", '\\"', "`", "``", "a`b", "x'41'", "0x41", "_utf8mb4 x", "\\%", "\\_", "N'x'", "@x", "@@x",
    "?", ":x", "NULL", "\\N", "\u02bc", "\u2019", "\uff07", "\ufe68", "¿'", "縗'", "\u00bf\u005c'", "a\u0000'",
]  # fmt: skip
TEXTS = st.lists(ANY_TEXT | st.sampled_from(HOSTILE), min_size=30, max_size=60)
MODES = [
    "",
    "ANSI_QUOTES",
    "ANSI",
    "PIPES_AS_CONCAT,IGNORE_SPACE",
    *(["ORACLE"] if SERVER.name == "mariadb" else []),
    "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
]
Ask = Callable[..., list[format_readers.Row]]


@pytest.fixture(scope="module")
def ask(template: Path) -> Iterator[Ask]:
    with format_readers.database_server(template) as asks:
        yield asks


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rc-") as made:
        yield Path(made)


def taken(form: str, texts: Sequence[str]) -> list[str]:
    """Those that a format does not refuse, each once."""
    good = []
    for text in dict.fromkeys(texts):
        try:
            FORMATS[form](text)
        except ValueError:
            continue
        good.append(text)
    return good


def hexed(text: str) -> str:
    return text.encode().hex().upper()


@fuzz(6, batches=True)
@example(texts=HOSTILE, mode="")
@example(texts=HOSTILE, mode="ANSI_QUOTES")
@given(texts=TEXTS, mode=st.sampled_from(MODES))
def test_a_string_is_read_as_it_was_written_in_any_mode_in_which_a_backslash_escapes(
    ask: Ask, texts: list[str], mode: str
) -> None:
    good = taken("sql", texts)
    statements = "".join(f"SELECT HEX({sql(one)}), {n};\n" for n, one in enumerate(good))
    read = ask(f"SET SESSION sql_mode = '{mode}';\n{statements}")
    assert read == [[hexed(one), str(n)] for n, one in enumerate(good)]


@fuzz(3, batches=True)
@example(texts=HOSTILE)
@given(texts=TEXTS)
def test_where_a_backslash_does_not_escape_a_string_stays_one_and_only_its_backslashes_are_doubled(
    ask: Ask, texts: list[str]
) -> None:
    good = taken("sql", texts)
    statements = "".join(f"SELECT HEX({sql(one)}), {n};\n" for n, one in enumerate(good))
    read = ask(f"SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES';\n{statements}")
    assert read == [[hexed(one.replace("\\", "\\\\")), str(n)] for n, one in enumerate(good)]


@fuzz(3, batches=True)
@example(texts=HOSTILE)
@given(texts=TEXTS)
def test_an_account_has_the_name_and_the_password_that_were_written(ask: Ask, texts: list[str]) -> None:
    users, passwords = taken("sql_user", texts), taken("sql_password", texts) or ["x"]
    wanted = [(user, passwords[n % len(passwords)]) for n, user in enumerate(users)]
    made = [f"CREATE USER {sql_user(user)}@'10.0.0.1' IDENTIFIED BY {sql_password(word)};\n" for user, word in wanted]
    accounts = ask(f"{''.join(made)}SELECT HEX(User), {SERVER.password} FROM mysql.user WHERE Host = '10.0.0.1'")
    ask("".join(f"DROP USER {sql_user(user)}@'10.0.0.1';\n" for user in users))
    assert sorted(map(tuple, accounts)) == sorted((hexed(user), hashed(word)) for user, word in wanted)


def hashed(password: str) -> str:
    """What MariaDB keeps of it; MySQL salts it."""
    if SERVER.name == "mysql":
        return ""
    twice = hashlib.sha1(hashlib.sha1(password.encode()).digest())
    return f"*{twice.hexdigest().upper()}"


@pytest.mark.parametrize("user", ["", " ", "a ", "😀", "a\U00010000", "x" * 33, "a\nb", "a\0"])
def test_what_a_server_would_make_another_accounts_name_of_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be an account|contains the character"):
        sql_user(user)


def test_rights_to_a_schema_are_none_to_another_with_a_letter_in_the_place_of_the_underscore(ask: Ask) -> None:
    ask("CREATE DATABASE my_shop; CREATE DATABASE my1shop; CREATE TABLE my_shop.t (n INT);"
        "CREATE TABLE my1shop.t (n INT); CREATE USER shop@localhost;"
        f"GRANT SELECT ON {sql_grant('my_shop')}.* TO shop@localhost;")  # fmt: skip
    [[grant]] = [row for row in ask("SHOW GRANTS FOR shop@localhost") if "SELECT" in row[0]]
    assert grant == r"GRANT SELECT ON `my\\_shop`.* TO `shop`@`localhost`"  # the client doubles backslashes
    [[socket]] = ask("SELECT @@socket")
    mine = ("--no-defaults", f"--socket={socket}", "--user=shop")
    assert ask("SELECT COUNT(*) FROM my_shop.t", *mine) == [["0"]]
    assert ask("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'my1shop'", *mine) == [["0"]]


@fuzz(1, batches=True)
@example(texts=HOSTILE[len(NASTY) :])
@given(texts=TEXTS)
def test_a_follower_logs_in_with_the_password_that_was_written(ask: Ask, texts: list[str]) -> None:
    [[data]] = ask("SELECT @@datadir")
    for text in taken("sql_password", texts):
        words = {"host": sql("127.0.0.1"), "port": "1", "user": sql("rolecall_replication")}
        words["channel"] = SERVER.dialect.plain.clause
        ask(f"{SERVER.dialect.follow.format(**words, password=sql_password(text))};\n{SERVER.dialect.stop_receiver};\n")
        if SERVER.logins:
            host, user, password, port = (bytes.fromhex(field).decode() for field in ask(SERVER.logins)[0])
        else:
            _, _, _, host, user, password, port, *_ = (Path(data) / "master.info").read_text().split("\n")
        assert (host, user, password, port) == ("127.0.0.1", "rolecall_replication", text, "1")


# --- the role's own files ------------------------------------------------------------------------------------------


def with_products(names: Sequence[str], users: Sequence[str]) -> dict[str, Any]:
    """The example, with other products, all of them of its database, on two web servers."""
    data = edited()
    product = {**data["products"]["video"], "databases": ["blog"]}
    data["products"] = {
        name: {**product, "user": f"u{n}", "hostnames": [f"p{n}.org"], "environment": {"DB_USER": users[n]},
               "secrets": {"DB_PASSWORD": f"file:/{n}"}}
        for n, name in enumerate(names)
    }  # fmt: skip
    for name, server in data["servers"].items():
        server["products"] = list(names) if name in ("web1", "web2") else []
    data["databases"]["blog"]["replication_password"] = "file:/r"
    return data


def role_of(data: dict[str, Any], **place: Any) -> Generation:
    return render(DATABASE, assigned(data, server="db1"), render_settings(platform=SERVER.platform, **place))


NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True), min_size=4, max_size=8, unique=True)


@fuzz(2, batches=True)
@example(texts=HOSTILE, names=["a", "select", "mysql-x", "a-b", "a-1", "x" * 40, "a-", "null"])
@given(texts=TEXTS, names=NAMES)
def test_a_master_has_the_schemas_and_accounts_that_the_document_and_its_secrets_say(
    ask: Ask, scratch: Path, texts: list[str], names: list[str]
) -> None:
    names = [one for one in names if accepts(with_products([one], ["x"]))]
    users = [one for one in dict.fromkeys(texts) if accepts(with_products(["a"], [one]))]
    users = (users + [f"user{n}" for n in range(len(names))])[: len(names)]
    words = ((taken("sql_password", texts) or ["x"]) * 9)[: len(names) + 1]
    secrets = {f"{name}.DB_PASSWORD": words[n] for n, name in enumerate(names)}
    secrets["databases/blog.REPLICATION_PASSWORD"] = words[-1]
    [[socket]] = ask("SELECT @@socket")
    made = role_of(with_products(names, users), names={"mysql_socket": socket})
    (scratch / "admin.cnf").write_text(text_of(made, "mysql/admin.cnf", secrets))
    before = {row[0] for row in ask("SHOW DATABASES")}
    ask(f"{text_of(made, 'mysql/accounts.sql', secrets)};\n", f"--defaults-file={scratch / 'admin.cnf'}")
    accounts = ask(f"SELECT HEX(User), Host, {SERVER.password} FROM mysql.user WHERE Host LIKE '10.0.0.%'")
    rights = ask("SELECT Db, HEX(User), Host FROM mysql.db WHERE Host LIKE '10.0.0.%'")
    schemas = {row[0] for row in ask("SHOW DATABASES")} - before
    gone = [f"DROP USER {sql(bytes.fromhex(user).decode())}@'{host}';\n" for user, host, _ in accounts]
    ask("".join([*gone, *(f"DROP DATABASE `{schema}`;\n" for schema in schemas)]))
    assert schemas == {name.replace("-", "_") for name in names} - before
    web, members = ("10.0.0.11", "10.0.0.12"), ("10.0.0.21", "10.0.0.22", "10.0.0.23", "10.0.0.24")
    wanted = {(hexed(user), one, hashed(word)) for user, word in zip(users, words, strict=False) for one in web}
    wanted |= {(hexed("rolecall_replication"), one, hashed(words[-1])) for one in members}
    assert sorted(map(tuple, accounts)) == sorted(wanted)
    # A backslash before _ makes it no other schema's right; the client writes it twice.
    patterns = [name.replace("-", r"\\_") for name in names]
    granted = {(one, hexed(user), host) for one, user in zip(patterns, users, strict=True) for host in web}
    assert sorted(map(tuple, rights)) == sorted(granted)


@fuzz(2, batches=True)
@example(texts=HOSTILE)
@given(texts=TEXTS)
def test_a_followers_client_reads_the_password_as_it_was_written(scratch: Path, texts: list[str]) -> None:
    file, password = scratch / "replication.cnf", "databases/blog.REPLICATION_PASSWORD"
    made = role_of(with_products(["a"], ["b"]))
    for text in taken("my_cnf", texts):
        file.write_text(text_of(made, "mysql/replication.cnf", {password: text}))
        read = format_readers.my_print_defaults(file, "client")
        assert read == ["--user=rolecall_replication", f"--password={text}", "--protocol=tcp"]


SETTINGS = {"mysql_user": "user", "mysql_data": "datadir", "mysql_socket": "socket", "mysql_pidfile": "pid-file",
            "mysql_error_log": "log-error", "mysql_bind": "bind-address"}  # fmt: skip


@fuzz(5, batches=True)
@given(texts=st.lists(ANY_TEXT | st.sampled_from(HOSTILE), min_size=7, max_size=7))
def test_a_server_reads_the_names_of_its_platform_as_they_were_written(scratch: Path, texts: list[str]) -> None:
    texts = [(taken("my_cnf", [text]) or ["x"])[0].replace("{", "(") for text in texts]  # {{ }} is the settings' own
    names = dict(zip([*SETTINGS, "mysql_logs"], texts, strict=True))
    file = scratch / "server.cnf"
    file.write_text(text_of(role_of(with_products(["a"], ["b"]), names=names), "mysql/server.cnf", {}))
    read = dict(
        line.removeprefix("--").split("=", 1)
        for line in format_readers.my_print_defaults(file, SERVER.group)
        if "=" in line
    )
    wanted = {option: names[name] for name, option in SETTINGS.items()}
    wanted |= {"log-bin": f"{names['mysql_logs']}/binlog", "relay-log": f"{names['mysql_logs']}/relay"}
    assert {option: read[option] for option in wanted} == wanted
    assert read["report-host"] == "db1"


def test_the_server_itself_reads_a_path_with_everything_that_a_path_can_have(scratch: Path) -> None:
    folder = scratch / "a b'c\"d\\e#f;g$h%i[j]é"
    folder.mkdir()
    names = {"mysql_socket": f"{folder}/sock", "mysql_pidfile": f"{folder}/pid", "mysql_user": getpass.getuser()}
    file = scratch / "server.cnf"
    file.write_text(text_of(role_of(with_products(["a"], ["b"]), names=names), "mysql/server.cnf", {}))
    told = format_readers.run(SERVER.daemon, f"--defaults-file={file}", "--help", "--verbose").decode().splitlines()
    read = dict(line.split(maxsplit=1) for line in told if line.startswith(("socket ", "pid-file ", "read-only ")))
    assert read == {"socket": names["mysql_socket"], "pid-file": names["mysql_pidfile"], "read-only": "TRUE"}
