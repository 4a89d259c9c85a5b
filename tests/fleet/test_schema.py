"""The fleet document: the example works as it stands, and what is wrong is told all at once, with place and remedy."""

import copy
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.fleet.schema import MAX_BYTES, Fleet, Header, parse_fleet, parse_header, schema
from rolecall.forms.mistakes import Mistakes, dotted
from rolecall.forms.positions import json_positions
from samples import ANY_JSON, ANY_TEXT, FLEET, GONE, edited, fuzz, path_of, refused, web

VIDEO = json.loads(FLEET)["products"]["video"]
CRON = "products/blog/cron/0"


def test_the_example_document_works_as_it_stands() -> None:
    fleet = parse_fleet(FLEET)
    assert (fleet.fleet, fleet.serial, len(fleet.servers), list(fleet.products)) == ("heavy", 42, 8, ["blog", "video"])
    assert fleet.products["blog"].cron[0].command == ("php", "bin/digest.php", "--limit=100%")
    assert fleet.databases["blog"].snapshot == "db4"
    assert fleet.caches["sessions"].memory_mb == 512
    assert (fleet.products["video"].document_root, fleet.products["video"].runtime) == ("public", "php"), "defaults"


# An edit of the example: where, what to; then words of the message and of the remedy, told at that path.
UNKNOWN_KEYS = [
    ("serail", 1, "unknown key", "did you mean 'serial'?"),
    ("zzz", 1, "unknown key", "known here: caches, databases, fleet"),
    ("products/blog/hostname", [], "unknown key", "did you mean 'hostnames'?"),
    ("products/blog/release/sha", "", "unknown key", "did you mean 'sha256'?"),
    (f"{CRON}/schedulex", "", "unknown key", "did you mean 'schedule'?"),
    ("products/blog/checks/1/timeoutx", 1, "unknown key", "did you mean 'timeout'?"),
    ("servers/web1/addressx", "", "unknown key", "did you mean 'address'?"),
    ("databases/blog/slaves", [], "unknown key", "known here: candidate, epoch, master"),
    ("caches/sessions/memory", 1, "unknown key", "did you mean 'memory_mb'?"),
]  # fmt: skip
WRONG_TYPES = [
    ("format", 2, "is 2", "must be 1"),
    ("serial", "42", 'must be a whole number, not "42"', ""),
    ("serial", 42.0, "whole number", ""),
    ("serial", True, "must be a whole number, not true", ""),
    ("serial", 0, "greater than or equal to 1, but is 0", ""),
    ("fleet", None, "must be text in quotes, not null", ""),
    ("issued", 1, "must be a time such as '2026-11-21T18:00:00Z'", ""),
    ("issued", "yesterday", "must be a time such as", ""),
    ("not_after", "2026-11-28T18:00:00", "a time with its zone", ""),
    ("not_after", "2026-11-21T18:00:00Z", "expires before it is issued", "raise not_after"),
    ("not_after", "2026-11-21T19:59:59+02:00", "expires before it is issued", "raise not_after"),
    ("products", [], "must be an object, not []", ""),
    ("products/video", None, "must be an object, not null", ""),
    ("products/blog/hostnames", "blog.example.com", "must be a list", ""),
    ("products/blog/hostnames", [], "must not be empty", ""),
    ("products/blog/hostnames/1", 7, "must be text in quotes, not 7", ""),
    ("products/blog/release", GONE, "missing", "add 'release'"),
    ("products/blog/release/sha256", GONE, "missing", "add 'sha256'"),
    ("products/blog/release/size", "20480", "must be a whole number", ""),
    ("products/blog/release/size", 0, "greater than 0", ""),
    ("products/blog/workers", 1001, "less than or equal to 1000, but is 1001", ""),
    ("products/blog/runtime", "phpp", 'is "phpp"', "did you mean 'php'?"),
    ("products/blog/runtime", "ruby", 'is "ruby"', "must be 'php' or 'static'"),
    ("products/blog/environment/APP_ENV", 1, "text in quotes, not 1", ""),
    ("products/blog/environment", [["A", "b"]], "must be an object", ""),
    (f"{CRON}/command", "php x", "must be a list", ""),
    (f"{CRON}/command", [], "must not be empty", ""),
    (f"{CRON}/command", ["-c", "x"], "'-c' is not the name of a program", ""),
    (f"{CRON}/command", [""], "'' is not the name of a program", ""),
    ("products/blog/checks/0/timeout", 0, "greater than 0", ""),
    ("products/blog/checks/0/timeout", "1h", "less than or equal to 600", ""),
    ("servers/web1/address", "10.0.0.999", "is not an IP address", ""),
    ("servers/web1/zone", GONE, "missing", "add 'zone'"),
    ("databases/blog/port", 70000, "less than or equal to 65535", ""),
    ("databases/blog/epoch", GONE, "missing", "add 'epoch'"),
    ("caches/sessions/servers", [], "must not be empty", ""),
]  # fmt: skip
WRONG_VALUES = [
    ("products/blog/hostnames/0", "blog_example.com", "is not a hostname", ""),
    ("products/blog/hostnames/0", "Blog.example.com", "write it in lower case", ""),
    ("products/blog/hostnames/0", "blög.example.com", "xn-- form", ""),
    ("products/blog/hostnames/0", "10.0.0.1", "not ending in a number", ""),
    ("products/blog/hostnames/0", "*.example.com", "is not a hostname", ""),
    ("products/blog/user", "root", "an account or group of the system", ""),
    ("products/blog/user", "Blog", "is not an account name", ""),
    ("products/blog/groups/0", "wheel", "an account or group of the system", ""),
    ("products/Blog", VIDEO, "is not a name", ""),
    ("products/blog/document_root", "../etc", "is not a relative path", ""),
    ("products/blog/document_root", "/etc", "is not a relative path", ""),
    ("products/blog/writable/0", "a/../../b", "is not a relative path", ""),
    ("products/blog/release/sha256", "abc", "64 digits", ""),
    ("products/blog/release/artifact", "a b.tar", "is not a relative path", ""),
    ("products/blog/release/version", "1 0", "is not a version", ""),
    ("products/blog/environment/HTTP_PROXY", "x", "choose another name", ""),
    ("products/blog/environment/A-B", "x", "is not a variable name", ""),
    ("products/blog/environment/PATH", "/tmp", "choose another name", ""),
    ("products/blog/environment/X", "x" * 8193, "longer than 8192 bytes", ""),
    ("products/blog/secrets/DB_PASSWORD", "hunter2", "a secret's reference", ""),
    (f"{CRON}/schedule", "*/15 * * *", "five fields", ""),
    (f"{CRON}/schedule", "0 0 30 2 *", "not a possible schedule", ""),
    (f"{CRON}/schedule", "61 * * * *", "not a possible schedule: Bad minute", ""),
    (f"{CRON}/schedule", "5/10 * * * *", "a step follows * or a range", ""),
    (f"{CRON}/schedule", "* * * foo *", "'foo' is neither a month nor a weekday", ""),
    (f"{CRON}/schedule", "@reboot", "one of @hourly, @daily", ""),
    (f"{CRON}/name", "a b", "is not a name", ""),
    ("products/blog/checks/1/contains", "ok", "a check of the kind 'tcp' does not look at it", "it is for: http"),
    ("products/blog/checks/1/status", 200, "a check of the kind 'tcp' does not look at it", "it is for: http"),
    ("products/blog/checks/0/contains", "", "must not be empty", ""),
    ("products/blog/checks/0/status", 0, "greater than or equal to 100", ""),
    ("products/blog/checks/0/http", "health", "starting with /", ""),
    ("products/blog/checks/1/tcp", "10.0.0.1:99999", "neither host:port, database:NAME", ""),
]  # fmt: skip
HIDDEN = [
    ("fleet", "hea\nvy", "U+000A at position 4: remove it", ""),
    ("products/blog/hostnames/0", "blog.example.com\n", "U+000A", ""),
    ("products/blog/user", "blog\n", "U+000A", ""),
    ("products/blog/environment/A", "x\r\nRequire all granted", "U+000D", ""),
    ("products/blog/environment/A", "\0", "U+0000", ""),
    ("products/blog/environment/A", "a\x85b", "U+0085", ""),
    ("products/blog/environment/A", "a\u2028b", "U+2028", ""),
    ("products/blog/environment/A", "\u202egnp.exe", "U+202E", ""),
    ("products/blog/environment/A\n", "x", "U+000A", ""),
    ("products/blog/secrets/X", "file:/etc/x\n", "U+000A", ""),
    (f"{CRON}/schedule", "* * * * *\n* * * * * root x", "U+000A", ""),
    (f"{CRON}/command/1", "a\nb", "U+000A", ""),
    (f"{CRON}/name", "digest\n", "U+000A", ""),
    ("products/blog/writable/0", "uploads\n", "U+000A", ""),
    ("products/blog/checks/0/contains", "\x1b[2J", "U+001B", ""),
    ("products/blog/release/version", "1\n", "U+000A", ""),
    ("servers/web1/zone", "a\tb", "U+0009", ""),
    ("servers/web1/address", "fe80::1%a\nb", "is not an IP address", ""),
    ("servers/we\nb", {"role": "web", "address": "10.0.9.9", "zone": "a"}, "U+000A", ""),
]  # fmt: skip
REFERENCES = [
    ("servers/web1/products/0", "blgo", "no product 'blgo'", "did you mean 'blog'?"),
    ("servers/web1/products/0", "x", "no product 'x'", "add it to 'products' or remove it"),
    ("servers/web1/products/2", "blog", "listed twice", "remove one of them"),
    ("products/blog/databases/0", "blg", "no database 'blg'", "did you mean 'blog'?"),
    ("products/blog/databases/1", "blog", "listed twice", "remove one"),
    ("products/blog/caches/0", "session", "no cache 'session'", "did you mean 'sessions'?"),
    ("products/blog/caches/0", "x", "no cache 'x'", "add it to 'caches'"),
    ("caches/sessions/servers/0", "mc2", "no server 'mc2'", "did you mean 'mc1'?"),
    ("caches/sessions/servers/1", "mc1", "listed twice", "remove one"),
    ("databases/blog/master", "db9", "no server 'db9'", "did you mean"),
    ("databases/blog/snapshot", "zzz", "no server 'zzz'", "add it to 'servers'"),
    ("databases/blog/candidate", "db1", "'db1' is master of this database already", "one duty"),
    ("databases/blog/replicas/0", "db2", "'db2' is candidate of this database", "one duty"),
    ("databases/blog/replicas/1", "db3", "'db3' is replicas of this database", "one duty"),
    ("databases/blog/snapshot", "db1", "'db1' is master of this database", "one duty"),
    ("products/video/hostnames/0", "blog.example.com",
     "'blog.example.com' is already used by products.blog.hostnames[0]", "choose another"),
    ("products/blog/hostnames/1", "blog.example.com", "already used by products.blog.hostnames[0]", "choose another"),
    ("products/blog/hostnames/1", "web2", "'web2' is the name of the server 'web2'", "a hostname of its own"),
    ("products/blog/hostnames/1", "DB1.", "'DB1.' is the name of the server 'db1'", "a hostname of its own"),
    ("servers/web1/spare", True, "a spare server has no products", "remove one of the two"),
    ("products/video/user", "blog", "'blog' is already used by products.blog.user", "choose another"),
    ("servers/web2/address", "10.0.0.11", "is already used by servers.web1.address", "choose another"),
    ("servers/web2/instance", "i-0aaa0000000000001", "is already used by servers.web1.instance", ""),
    ("products/blog/writable/1", "uploads/x", "is inside 'uploads'", "only the outer one"),
    ("products/blog/writable/1", "uploads", "is inside 'uploads'", "only the outer one"),
    ("products/blog/writable/0", "public", "would be writable", "a folder below it"),
    ("products/blog/checks/1/tcp", "database:blgo", "uses no database 'blgo'", "did you mean 'blog'?"),
    ("products/blog/checks/1/tcp", "cache:x", "uses no cache 'x'", "the product's 'caches'"),
]  # fmt: skip
BLOG = edited()["products"]["blog"]
# The same where it is told in another place than the one that was edited.
ELSEWHERE = [
    ({"products/blog/checks/0/tcp": "cache:sessions"}, "products/blog/checks/0", "exactly one of http, tcp", ""),
    ({"products/blog/checks/0/http": GONE}, "products/blog/checks/0", "exactly one of http, tcp", ""),
    ({"products/blog/environment/DB_PASSWORD": "x"}, "products/blog/secrets/DB_PASSWORD",
     "is in environment too", "keep one"),
    ({"servers/web1/address": "fd00::1", "servers/web2/address": "FD00:0::1"}, "servers/web2/address",
     "'fd00::1' is already used by servers.web1.address", "choose another"),
    ({"products/blog/cron/1": {"name": "digest", "schedule": "@daily", "command": ["x"]}}, "products/blog/cron/1/name",
     "'digest' is already used by products.blog.cron[0].name", ""),
    ({"products/blog/document_root": "app/web", "products/blog/writable/0": "app"}, "products/blog/writable/0",
     "the document root 'app/web' would be writable", ""),
    ({"databases/shop": {"epoch": 1, "master": "db4"}}, "databases/shop/master",
     "'db4' is already a member of the database 'blog'", "name another one here"),
    ({"servers/db9": {"role": "database", "address": "10.0.9.9", "zone": "a"},
      "databases/shop": {"epoch": 1, "master": "db9", "replicas": ["db1"]}}, "databases/shop/replicas/0",
     "'db1' is already a member of the database 'blog'", "a machine runs one database server"),
    ({"caches/pages": {"servers": ["mc1"]}}, "caches/pages/servers/0",
     "port 11211 of server 'mc1' is taken by the cache 'sessions'", "another port"),
    ({"servers/mc2": {"role": "memcached", "address": "10.0.9.9", "zone": "a"},
      "caches/sessions/port": 11300, "caches/pages": {"port": 11300, "servers": ["mc2", "mc1"]}},
     "caches/pages/servers/1", "port 11300 of server 'mc1' is taken by the cache 'sessions'", "another port"),
    ({"products/video/databases": ["blog"], "products/video/environment": {"DB_USER": "blog"},
      "products/video/secrets": {"DB_PASSWORD": "file:/other"}}, "products/video/secrets/DB_PASSWORD",
     "the account 'blog' of the database 'blog' already has the password of 'blog'", "another 'DB_USER'"),
    ({"products/blog/environment": {"DB_USER": "clips"}, "products/video/databases": ["blog"],
      "products/video/secrets": {"DB_PASSWORD": "file:/other"}}, "products/video/secrets/DB_PASSWORD",
     "the account 'clips' of the database 'blog' already has the password of 'blog'", "or both the same password"),
    *(({"products/blog/environment": {"DB_USER": name}}, "products/blog/environment/DB_USER",
       "cannot be an account of a database server", "choose another") for name in ("", "x" * 33, "blog ", "😀")),
    ({"products/blog/environment": {"DB_USER": "rolecall_replication"}}, "products/blog/environment/DB_USER",
     "accounts whose names begin with 'rolecall' are the agent's own", "choose another"),
    ({"servers/null": {"role": "web", "address": "10.0.9.9", "zone": "a"}}, "servers/null",
     "this name means no host to Nagios", "give the server another name"),
    *(({f"products/{name}": {**BLOG, "hostnames": ["x.org"], "user": "other", "secrets": {}}}, f"products/{name}",
       f"'{name}' is the name of a schema that belongs to the database server", "give the product another name")
      for name in ("mysql", "sys", "performance-schema", "information-schema")),
]  # fmt: skip
TABLE = [
    *(({path: value}, path, message, remedy)
      for path, value, message, remedy in (*UNKNOWN_KEYS, *WRONG_TYPES, *WRONG_VALUES, *HIDDEN, *REFERENCES)),
    *ELSEWHERE,
]  # fmt: skip


@pytest.mark.parametrize(("edit", "path", "message", "remedy"), TABLE)
def test_each_mistake_is_told_with_its_path_its_place_and_a_remedy(
    edit: dict[str, Any], path: str, message: str, remedy: str
) -> None:
    text = json.dumps(edited(edit), indent=2)
    fault = refused(text)
    mistakes = [
        mistake
        for mistake in fault.mistakes
        if mistake.path == path_of(path) and message in mistake.message and remedy in mistake.hint
    ]
    assert len(mistakes) == 1, str(fault)
    where, places = path_of(path), json_positions(text)
    while where not in places:
        where = where[:-1]
    assert (mistakes[0].line, mistakes[0].column) == places[where]
    pointed = text.split("\n")[mistakes[0].line - 1][mistakes[0].column - 1 :]
    if where and isinstance(where[-1], str):
        assert pointed.startswith(f"{json.dumps(where[-1])}: ")
    elif where:
        assert pointed.startswith(json.dumps(at(json.loads(text), where))[:1])


def test_products_may_share_a_database_with_accounts_of_their_own_or_with_one_password() -> None:
    for keys in ({"secrets": {"DB_PASSWORD": "file:/other"}},
                 {"secrets": BLOG["secrets"], "environment": {"DB_USER": BLOG["user"]}}):  # fmt: skip
        data = edited({f"products/video/{key}": value for key, value in keys.items()},
                      {"products/video/databases": ["blog"]})  # fmt: skip
        assert parse_fleet(json.dumps(data).encode()).products["video"].databases == ("blog",)


def test_a_product_without_a_database_may_be_called_as_a_schema_is() -> None:
    parse_fleet(json.dumps(edited({"products/mysql": {**BLOG, "hostnames": ["x.org"], "user": "other", "databases": [],
                                                      "checks": []}})).encode())  # fmt: skip


def test_a_server_may_have_several_caches_at_ports_of_their_own() -> None:
    data = edited({"caches/pages": {"port": 11212, "servers": ["mc1"]}})
    assert parse_fleet(json.dumps(data).encode()).caches.keys() == {"sessions", "pages"}


def at(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


def test_all_mistakes_of_a_document_are_told_at_once() -> None:
    wrong: dict[str, tuple[Any, str]] = {
        "serail": (1, "unknown key"),
        "serial": ("x", "whole number"),
        "not_after": ("2020-01-01T00:00:00Z", "expires before"),
        "products/blog/hostnames/0": ("a_b", "not a hostname"),
        "products/blog/user": ("root", "account or group of the system"),
        "products/blog/workers": (0, "greater than or equal to 1"),
        "products/blog/environment/A": ("x\ny", "U+000A"),
        "products/blog/environment/PATH": ("x", "choose another name"),
        "products/blog/environment/DB_PASSWORD": ("x", ""),
        "products/blog/cron/0/schedule": ("* * *", "five fields"),
        "products/blog/cron/0/commandx": ([], "unknown key"),
        "products/blog/databases/0": ("blgo", "no database"),
        "products/blog/caches/0": ("x", "no cache"),
        "products/blog/checks/1/tcp": ("cache:y", "uses no cache"),
        "products/video/hostnames/0": ("www.blog.example.com", "is already used by"),
        "servers/web1/products/1": ("vido", "no product"),
        "servers/web2/address": ("10.0.0.11", "is already used by"),
        "servers/mc1/role": (None, "text in quotes"),
        "databases/blog/candidate": ("db1", "is master"),
        "databases/blog/epoch": (0, "greater than or equal to 1"),
        "caches/sessions/servers/0": ("mc7", "no server"),
    }
    fault = refused(json.dumps(edited({path: value for path, (value, _) in wrong.items()}), indent=2))
    del wrong["products/blog/environment/DB_PASSWORD"]  # told at the secret of that name
    wrong["products/blog/secrets/DB_PASSWORD"] = ("", "is in environment too")
    assert {dotted(mistake.path) for mistake in fault.mistakes} == {dotted(path_of(path)) for path in wrong}, str(fault)
    for path, (_, message) in wrong.items():
        assert any(mistake.path == path_of(path) and message in mistake.message for mistake in fault.mistakes), path
    lines = fault.message.splitlines()
    assert lines[0] == f"fleet document has {len(wrong)} mistakes; nothing was changed:"
    assert len(lines) == 1 + len(wrong)
    assert [mistake.line for mistake in fault.mistakes] == sorted(mistake.line for mistake in fault.mistakes)


@pytest.mark.parametrize(
    ("raw", "place", "message"),
    [
        (b"", (1, 1), "not JSON"),
        (b" \n ", (2, 2), "not JSON"),
        (b"null", (1, 1), "must be an object, not null"),
        (b"[]", (1, 1), "must be an object"),
        (FLEET.replace(b'"us-east-1a"}', b'"us-east-1a",}', 1), (46, 113), "not JSON"),
        (FLEET.rstrip()[:-1] + b",}", (59, 2), "not JSON"),
        (FLEET.replace(b"42", b"NaN"), (4, 13), "no NaN"),
        (FLEET.replace(b"20480", b"-Infinity"), (14, 17), "no -Infinity"),
        (FLEET.replace(b"20480", b"1e999"), (14, 9), "whole number, not Infinity"),
        (FLEET.replace(b'"status": 200', b'"timeout": 1e999'), (28, 29), "finite number"),
        (FLEET.replace(b'"serial": 42', b'"serial": 42, "serial": 43'), (4, 17), "serial: the key occurs twice"),
        (
            FLEET.replace(b'"APP_ENV": "p', b'"APP_ENV": "", "APP_ENV": "p'),
            (20, 38),
            "products.blog.environment.APP_ENV",
        ),
        (FLEET.replace(b"production", b"pr\xf6duction"), (20, 37), "is not UTF-8 at byte"),
        ("ä".encode() + FLEET.replace(b"production", b"pr\xf6duction"), (20, 37), "is not UTF-8 at byte"),
        (FLEET.decode().encode("utf-16"), (1, 1), "is not UTF-8 at byte 0"),
        (FLEET.replace(b"production", b"pr\\ud800duction"), (20, 0), "not JSON"),
        (b"[" * 150 + b"]" * 150, (1, 1), "must be an object"),
        (b"[" * 600 + b"]" * 600, (1, 0), "nested too deeply"),
        (b"[" * 100_000, (0, 0), "nested too deeply"),
        (b" " * (MAX_BYTES + 1), (0, 0), f"is {MAX_BYTES + 1} bytes; at most {MAX_BYTES} are read"),
        (b'{"serial": ' + b"9" * 5000 + b"}", (0, 0), "digits"),
    ],
    ids=range(21),
)
def test_bytes_that_are_no_document_are_refused_with_their_place(
    raw: bytes, place: tuple[int, int], message: str
) -> None:
    fault = refused(raw)
    mistake = next(mistake for mistake in fault.mistakes if message in f"{dotted(mistake.path)}: {mistake.message}")
    assert mistake.line == place[0], str(fault)
    assert mistake.column == (place[1] or mistake.column), str(fault)


def test_a_name_that_thousands_of_servers_get_wrong_is_told_for_each_of_them_at_once() -> None:
    many = {f"servers/w{n}": {"role": "web", "address": f"10.1.{n // 250}.{n % 250}", "zone": "a", "products": ["blgo"]}
            for n in range(5000)}  # fmt: skip
    products = {f"products/p{n}": {**VIDEO, "hostnames": [f"p{n}.org"], "user": f"u{n}"} for n in range(50)}
    fault = refused(edited(many, products))
    assert len(fault.mistakes) == 5000
    assert {mistake.hint for mistake in fault.mistakes} == {"did you mean 'blog'?"}


def test_a_fleet_may_have_nothing_in_it_yet() -> None:
    small = {key: edited()[key] for key in ("format", "fleet", "serial", "issued", "not_after")}
    fleet = parse_fleet(json.dumps(small).encode())
    assert (fleet.products, fleet.servers, fleet.databases, fleet.caches) == ({}, {}, {}, {})


def test_a_document_expires_at_its_moment_in_whatever_zone_it_was_written() -> None:
    fleet = parse_fleet(json.dumps(edited({"not_after": "2026-11-28T20:00:00+02:00"})).encode())
    moment = datetime(2026, 11, 28, 18, tzinfo=UTC)
    assert not fleet.not_after < moment
    assert fleet.not_after < moment + timedelta(seconds=1)


HEADER = ("format", "fleet", "serial", "issued", "not_after")


def test_the_header_is_read_without_a_look_at_the_rest() -> None:
    data = edited({"products/Blog": 7, "servers/web1": [], "serail": 1})
    header = parse_header(json.dumps(data).encode(), "s3://fleet/prod/fleet.json")
    whole = parse_fleet(FLEET)
    assert type(header) is Header
    assert [getattr(header, key) for key in HEADER] == [getattr(whole, key) for key in HEADER]


@pytest.mark.parametrize(
    ("edit", "path", "message"),
    [
        ({"format": 2}, "format", "is 2"),
        ({"fleet": GONE}, "fleet", "missing"),
        ({"fleet": "Heavy\n"}, "fleet", "U+000A"),
        ({"serial": "42"}, "serial", "whole number"),
        ({"serial": 0}, "serial", "greater than or equal to 1"),
        ({"serial": True}, "serial", "whole number"),
        ({"issued": "2026-11-21"}, "issued", "a time"),
        ({"not_after": "2026-11-28T18:00:00"}, "not_after", "a time with its zone"),
        ({"not_after": None}, "not_after", "a time"),
    ],
)
def test_a_header_that_is_wrong_is_told_with_its_place_and_with_all_the_other_mistakes(
    edit: dict[str, Any], path: str, message: str
) -> None:
    raw = json.dumps(edited(edit, {"products/blog/workers": 0}), indent=2).encode()
    with pytest.raises(Mistakes, match=r"\As3://fleet/prod/fleet\.json has 2 mistakes") as caught:
        parse_header(raw, "s3://fleet/prod/fleet.json")
    by_path = {dotted(mistake.path): mistake for mistake in caught.value.mistakes}
    assert by_path.keys() == {path, "products.blog.workers"}
    assert message in by_path[path].message
    assert by_path[path].line


@fuzz(40)
@given(ANY_JSON.map(lambda data: json.dumps(data).encode()) | st.binary(max_size=60))
def test_any_bytes_that_have_no_header_are_refused_in_words(raw: bytes) -> None:
    with pytest.raises(Mistakes) as caught:
        parse_header(raw, "fleet.json")
    assert caught.value.exit_code == 78


@fuzz(60)
@given(st.randoms(use_true_random=False), st.lists(ANY_JSON | ANY_TEXT, min_size=1, max_size=3), ANY_TEXT)
def test_what_is_a_fleet_has_the_header_of_that_fleet(choice: random.Random, values: list[Any], key: str) -> None:
    raw = json.dumps(changed(choice, values, key)).encode()
    fleet = outcome(raw)
    if isinstance(fleet, Fleet):
        header = parse_header(raw, "fleet.json")
        assert [getattr(header, key) for key in HEADER] == [getattr(fleet, key) for key in HEADER]


@fuzz(80)
@given(ANY_JSON)
def test_any_json_is_refused_in_words_or_is_a_fleet(data: Any) -> None:
    outcome(json.dumps(data).encode())


@fuzz(40)
@given(st.binary(max_size=60) | ANY_TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_refused_in_words_or_are_a_fleet(raw: bytes) -> None:
    outcome(raw)


@fuzz(100)
@given(st.randoms(use_true_random=False), st.lists(ANY_JSON | ANY_TEXT, min_size=1, max_size=3), ANY_TEXT)
def test_any_change_of_the_example_is_refused_in_words_or_is_a_fleet(
    choice: random.Random, values: list[Any], key: str
) -> None:
    outcome(json.dumps(changed(choice, values, key)).encode())


# Values that are right in some place of a document, to be put into others.
PLAUSIBLE = [
    "blog", "video", "db1", "db4", "mc1", "web", "static", "fd00::1", "10.0.0.99", "a.example.org", "@daily", "a/b",
    "", "*/5 * * * *", 'ü€ "$\\${PATH}%#;', "file:/etc/x", "database:blog", "/x?y", "5s", 1, 0, 3306, 2.5, True, None,
    [], {}, ["blog"], ["video"], ["db1"], ["db4", "db3"], ["mc1", "db1"], ["a", "-b", "$c"], {"A": "'"},
    {"DB_USER": "x"},
]  # fmt: skip
KEYS = "candidate replicas groups writable environment secrets databases caches cron checks runtime workers A".split()


@fuzz(24)
@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(PLAUSIBLE), min_size=1, max_size=3),
       st.sampled_from(KEYS))  # fmt: skip
def test_what_passes_the_door_can_be_rendered(choice: random.Random, values: list[Any], key: str) -> None:
    data = changed(choice, values, key)
    fleet = outcome(json.dumps(data).encode())
    servers = fleet.servers if isinstance(fleet, Fleet) else {}
    for server in [name for name, entry in servers.items() if entry.role == "web" and entry.products][:1]:
        assert web(data, server=server).id


def changed(choice: random.Random, values: list[Any], key: str) -> Any:
    """The example with each value put in some place: instead of what is there, beside it, or with something removed."""
    data: Any = edited()
    for value in copy.deepcopy(values):  # a later value may be put into this one
        at, parent, last = data, None, None
        while isinstance(at, dict | list) and at and (parent is None or choice.random() < 0.85):
            last = choice.choice(list(at) if isinstance(at, dict) else range(len(at)))
            parent, at = at, at[last]
        if parent is None or last is None:
            return value
        match choice.randrange(4):
            case 0:
                del parent[last]
            case 1 if isinstance(parent, dict):
                parent[key] = value
            case 2 if isinstance(parent, list):
                parent.insert(choice.randrange(len(parent) + 1), value)
            case _:
                parent[last] = value
    return data


def outcome(raw: bytes) -> Fleet | Mistakes:
    try:
        return parse_fleet(raw)
    except Mistakes as mistakes:
        fault = mistakes
    assert fault.exit_code == 78
    lines = fault.message.splitlines()
    assert all(line.isprintable() for line in lines), "no document writes to anybody's terminal"
    assert len(lines) == 1 + len(fault.mistakes) > 1
    return fault


def test_the_schema_names_every_key_of_the_example_and_refuses_others() -> None:
    document_schema = schema()
    assert document_schema["$schema"].endswith("2020-12/schema")
    assert {*edited(), "roles", "history"} == set(document_schema["properties"])
    parts = document_schema["$defs"]
    assert set(edited()["products"]["blog"]) <= set(parts["Product"]["properties"])
    assert all(part.get("additionalProperties") is False for part in (document_schema, *parts.values()))
    assert {kind["type"] for kind in parts["ProductCheck"]["properties"]["timeout"]["anyOf"]} == {"number", "string"}
