"""A fleet at a glance: nothing is lost or counted twice, and what had better be otherwise is told with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.fleet.overview import Spread, matrix, server_rows, spreads, zones
from rolecall.fleet.schema import Fleet, parse_fleet
from rolecall.fleet.warnings import FleetWarning, warnings
from rolecall.forms.mistakes import dotted
from rolecall.forms.positions import json_positions
from samples import FLEET, GONE, edited, fleet, fuzz, path_of

VIDEO = json.loads(FLEET)["products"]["video"]
PASSWORD = {"databases/blog/replication_password": "file:/etc/rolecall/secrets/replication"}
# The example with nothing that a warning is for.
SOUND: dict[str, Any] = {
    **PASSWORD,
    "servers/web2/products": ["blog", "video"],
    "servers/mc2": {"role": "memcached", "address": "10.0.0.32", "zone": "us-east-1b"},
    "caches/sessions/servers": ["mc1", "mc2"],
}


def warnings_of(*edits: dict[str, Any]) -> list[FleetWarning]:
    raw = json.dumps(edited(*edits), indent=2).encode()
    return warnings(parse_fleet(raw), raw)


def test_a_fleet_that_outlives_each_of_its_machines_and_zones_is_told_nothing() -> None:
    assert warnings_of(SOUND) == []


PASSWORD_OF_BLOG = json.loads(FLEET)["products"]["blog"]["secrets"]["DB_PASSWORD"]
SHARED = {"products/video/databases": ["blog"], "products/video/secrets": {"DB_PASSWORD": PASSWORD_OF_BLOG}}
IN_ONE_ZONE = {f"servers/{name}/zone": "us-east-1b" for name in ("db1", "db2", "db3", "db4")}
# An edit of the sound example, the path at which it is told, then words of the message and of the remedy.
TABLE: list[tuple[dict[str, Any], str, str, str]] = [
    ({"servers/web2/products": ["blog"]}, "products/video", "has only one web server, web1",
     "give it another one, best in another zone: us-east-1b, us-east-1c"),
    ({"servers/web2/zone": "us-east-1a"}, "products/video", "its 2 web servers are all in us-east-1a",
     "have one elsewhere: us-east-1b, us-east-1c"),
    ({"caches/sessions/servers": ["mc1"]}, "caches/sessions", "has only one server, mc1", "best in another zone"),
    ({"servers/mc2/zone": "us-east-1a"}, "caches/sessions", "its 2 servers are all in us-east-1a",
     "us-east-1b, us-east-1c"),
    (IN_ONE_ZONE, "databases/blog", "its 4 servers are all in us-east-1b", "have one elsewhere: us-east-1a"),
    ({"databases/blog/candidate": GONE}, "databases/blog/candidate", "missing: nobody takes over when db1 fails",
     "add 'candidate', best in another zone than us-east-1a"),
    ({"databases/blog/candidate": None}, "databases/blog/candidate", "nobody takes over when db1", "add 'candidate'"),
    ({"databases/blog/snapshot": GONE}, "databases/blog/snapshot", "nobody takes the backups", "add 'snapshot'"),
    ({"databases/blog/replication_password": GONE}, "databases/blog/replication_password",
     "missing: nobody can follow its master, db1", "a secret's reference"),
    ({"products/blog/secrets": {}}, "products/blog/secrets/DB_PASSWORD", "missing: it gets no account in blog",
     "add 'DB_PASSWORD' to its 'secrets'"),
    ({"servers/db1/role": "web"}, "servers/db1/role", "is 'web', and it is master of blog",
     "give it the role 'database'"),
    ({"servers/db4/role": "web"}, "servers/db4/role", "is 'web', and it is snapshot of blog", "to another server"),
    ({"servers/mc1/role": "web"}, "servers/mc1/role", "is 'web', and it is a cache server of sessions",
     "give it the role 'memcached'"),
    ({"databases/shop": {"epoch": 1, "master": "web1"}}, "databases/shop/candidate",
     "missing: nobody takes over when its only server web1 fails", "add 'candidate'"),
    ({"databases/blog/candidate": GONE, "databases/blog/replicas": []}, "databases/blog/candidate",
     "when db1 fails; its only other copy is the snapshot server db4, which may be behind", "add 'candidate'"),
    ({"servers/db2/zone": "us-east-1a"}, "databases/blog/candidate", "db2 is in us-east-1a, as the master db1 is",
     "have the candidate in another zone: us-east-1b, us-east-1c"),
    ({"products/blog/secrets": {"DB_USER": "file:/u", "DB_PASSWORD": "file:/p"}}, "products/blog/secrets/DB_USER",
     "the account is made for 'blog', whatever this says", "give the account's name in 'environment'"),
    ({**SHARED, "products/video/environment": {"DB_USER": "blog"}}, "products/video/environment/DB_USER",
     "shares the account 'blog' of blog with blog: each reaches both", "give it an account of its own"),
    ({**SHARED, "products/blog/environment": {"DB_USER": "clips"}}, "products/video/user",
     "shares the account 'clips' of blog with blog", "give it an account of its own"),
    ({"databases/blog/max_connections": 91}, "databases/blog/max_connections",
     "its products may need 42 connections at once and get 41: each gets less", "raise it to 92"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "path", "message", "remedy"), TABLE)
def test_each_warning_is_told_with_its_path_its_place_and_a_remedy(
    edit: dict[str, Any], path: str, message: str, remedy: str
) -> None:
    [warning] = [warning for warning in warnings_of(SOUND, edit) if warning.path == path_of(path)]
    assert message in warning.message
    assert remedy in warning.hint
    where, places = path_of(path), json_positions(json.dumps(edited(SOUND, edit), indent=2))
    while where not in places:
        where = where[:-1]
    assert (warning.line, warning.column) == places[where]


def test_warnings_stand_in_the_order_of_the_document() -> None:
    located = warnings_of({"databases/blog/candidate": GONE, "databases/blog/snapshot": GONE})
    assert [dotted(warning.path) for warning in located] == [
        "products.video", "databases.blog.candidate", "databases.blog.replication_password", "databases.blog.snapshot",
        "caches.sessions",
    ]  # fmt: skip
    assert [warning.line for warning in located] == sorted(warning.line for warning in located)


def test_a_fleet_with_one_zone_is_not_told_to_use_others() -> None:
    here = {f"servers/{name}/zone": "a" for name in (*json.loads(FLEET)["servers"], "mc2")}
    assert warnings_of(SOUND, here) == []
    [only] = warnings_of(SOUND, here, {"caches/sessions/servers": ["mc1"]})
    assert only.hint == "give it another one"
    [none] = warnings_of(SOUND, here, {"databases/blog/candidate": GONE})
    assert none.hint == "add 'candidate'"


def test_a_zone_with_nothing_but_a_monitor_is_no_place_for_anything_else() -> None:
    office = {"servers/office1": {"role": "monitor", "address": "192.0.2.9", "zone": "office"}}
    assert warnings_of(SOUND, office) == []
    [alone] = warnings_of(SOUND, office, {"caches/sessions/servers": ["mc1"]})
    assert alone.hint.endswith("us-east-1b, us-east-1c")
    by_name = {
        (spread.kind, spread.name): spread
        for spread in spreads(fleet(SOUND, office, {"servers/db4/zone": "us-east-1a"}))
    }
    assert (by_name["database", "blog"].zones["office"], by_name["database", "blog"].mark) == (0, "")
    assert (by_name["role", "monitor"].zones["office"], by_name["role", "monitor"].mark) == (1, "")


def test_two_products_with_one_password_and_accounts_of_their_own_are_told_nothing() -> None:
    assert warnings_of(SOUND, SHARED) == []


def test_a_master_and_a_candidate_in_one_zone_hear_nothing_where_that_is_the_only_one_for_them() -> None:
    here = {f"servers/{name}/zone": "a" for name in (*json.loads(FLEET)["servers"], "mc2")}
    office = {"servers/office1": {"role": "monitor", "address": "192.0.2.9", "zone": "office"}}
    assert warnings_of(SOUND, here, office) == []


def test_a_database_that_is_all_in_one_zone_is_told_so_once() -> None:
    assert [dotted(warning.path) for warning in warnings_of(SOUND, IN_ONE_ZONE)] == ["databases.blog"]


def test_a_database_with_one_server_is_told_so_once_and_needs_no_password_for_replication() -> None:
    alone = {"databases/blog/candidate": GONE, "databases/blog/replicas": [], "databases/blog/snapshot": GONE,
             "databases/blog/replication_password": GONE}  # fmt: skip
    assert [dotted(warning.path) for warning in warnings_of(SOUND, alone)] == [
        "databases.blog.candidate",
        "databases.blog.snapshot",
    ]


def test_a_product_that_no_server_of_the_document_has_may_be_that_of_tagged_machines() -> None:
    edit = {"servers/web1/products": ["blog"], "servers/web2/products": ["blog"]}
    assert warnings_of(SOUND, edit) == []
    assert [spread.mark for spread in spreads(fleet(SOUND, edit)) if spread.name == "video"] == ["no server"]


def test_servers_of_another_role_do_not_stand_in_for_those_of_a_product() -> None:
    worker = {"role": "worker", "address": "10.0.9.9", "zone": "us-east-1b", "products": ["video"]}
    located = warnings_of(SOUND, {"servers/web2/products": ["blog"], "servers/worker1": worker})
    assert [(dotted(warning.path), warning.message) for warning in located] == [
        ("products.video", "has only one web server, web1"),
        ("products.video", "has only one worker server, worker1"),
    ]


@pytest.mark.parametrize(
    ("counts", "mark"),
    [
        ([0, 0, 0], "no server"), ([1, 0, 0], "one server"), ([2, 0, 0], "one zone"), ([40], ""), ([1], "one server"),
        ([1, 1, 0], ""), ([2, 1, 1], ""), ([2, 1, 0], "uneven"), ([4, 2], "uneven"), ([5, 3, 3], ""),
        ([14, 13, 6], "uneven"),
    ],
)  # fmt: skip
def test_what_is_out_of_balance_has_a_word(counts: list[int], mark: str) -> None:
    names = tuple(f"s{n}" for n in range(sum(counts)))
    zones_of = dict(zip("abc", counts, strict=False))
    others = tuple(zone for zone, count in zones_of.items() if not count)
    assert Spread("role", "web", "web", names, zones_of, others).mark == mark


def test_names_with_numbers_stand_in_the_order_of_their_numbers() -> None:
    servers = {f"servers/web{n}": {"role": "web", "address": f"10.0.1.{n}", "zone": "us-east-1a"} for n in (10, 9, 3)}
    assert [row.name for row in server_rows(fleet(servers)) if row.role == "web"] == [
        "web1",
        "web3",
        "web9",
        "web10",
        "web2",
    ]


def test_a_row_tells_all_that_a_server_is_for() -> None:
    [row] = [row for row in server_rows(fleet({"caches/sessions/servers": ["mc1", "db4"]})) if row.name == "db4"]
    assert (row.role, row.zone, row.address) == ("database", "us-east-1b", "10.0.0.24")
    assert (row.instance, row.products, row.duties) == ("i-0aaa0000000000024", (), {"blog": "snapshot"})
    assert row.caches == ("sessions",)


NAMES = [f"p{n}" for n in range(4)]


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, Any]:
    """Documents with any servers, any assignment of products, and databases and caches among them."""
    count = draw(st.integers(0, 14))
    servers = {
        f"s{n}": {
            "role": draw(st.sampled_from(["web", "database", "memcached", "odd"])),
            "address": f"10.0.0.{n + 1}",
            "zone": draw(st.sampled_from(["z1", "z2", "z10"])),
            "products": draw(st.lists(st.sampled_from(NAMES), unique=True)),
        }
        for n in draw(st.permutations(range(count)))
    }
    members = draw(st.lists(st.sampled_from(sorted(servers)), unique=True)) if servers else []
    duties: dict[str, Any] = {"epoch": 1, "replicas": members[3:]}
    duties |= dict(zip(("master", "candidate", "snapshot"), members, strict=False))
    pool = draw(st.lists(st.sampled_from(sorted(servers)), unique=True)) if servers else []
    products = {name: {**VIDEO, "hostnames": [f"{name}.org"], "user": name} for name in NAMES}
    parts = {"databases": {"main": duties} if members else {}, "caches": {"pool": {"servers": pool}} if pool else {}}
    return {**json.loads(FLEET), "servers": servers, "products": products, **parts}


def parsed(data: dict[str, Any]) -> Fleet:
    return parse_fleet(json.dumps(data).encode())


@fuzz(30)
@given(fleets())
def test_every_server_is_counted_once_in_its_role_and_in_each_thing_that_it_is_for(data: dict[str, Any]) -> None:
    document = parsed(data)
    rows = spreads(document)
    for spread in rows:
        assert sum(spread.zones.values()) == len(spread.servers) == len(set(spread.servers))
        assert list(spread.zones) == zones(document)
    assert sorted(name for spread in rows if spread.kind == "role" for name in spread.servers) == sorted(
        document.servers
    )
    for name in NAMES:
        having = [
            server for spread in rows if (spread.kind, spread.name) == ("product", name) for server in spread.servers
        ]
        assert sorted(having) == sorted(server for server, entry in document.servers.items() if name in entry.products)


@fuzz(30)
@given(fleets())
def test_the_matrix_has_each_server_of_a_serving_role_once_with_exactly_its_products(data: dict[str, Any]) -> None:
    document = parsed(data)
    serving = {entry.role for entry in document.servers.values() if entry.products}
    names = [server for row in matrix(document) for server in row.servers]
    assert sorted(names) == sorted(name for name, entry in document.servers.items() if entry.role in serving)
    for row in matrix(document):
        for server in row.servers:
            entry = document.servers[server]
            assert (entry.role, entry.zone, frozenset(entry.products)) == (row.role, row.zone, row.products)


@fuzz(30)
@given(fleets())
def test_every_warning_has_a_place_and_a_remedy_and_the_order_of_servers_changes_none(data: dict[str, Any]) -> None:
    raw = json.dumps(data, indent=1).encode()
    located = warnings(parse_fleet(raw), raw)
    assert all(warning.line > 0 and warning.column > 0 and warning.hint for warning in located)
    turned = json.dumps({**data, "servers": dict(reversed(data["servers"].items()))}, indent=1).encode()
    again = warnings(parse_fleet(turned), turned)
    assert {(warning.path, warning.message, warning.hint) for warning in again} == {
        (warning.path, warning.message, warning.hint) for warning in located
    }


@fuzz(30)
@given(fleets(), st.data())
def test_who_does_what_a_warning_about_zones_says_does_not_hear_it_again(
    data: dict[str, Any], choice: st.DataObject
) -> None:
    document = parsed(data)
    bad = [spread for spread in spreads(document) if spread.mark == "one zone"]
    assert {
        warning.path for warning in warnings(document, json.dumps(data).encode()) if "are all in" in warning.message
    } == {(f"{spread.kind}s", spread.name) for spread in bad if spread.kind != "role"}
    for spread in bad:
        elsewhere = choice.draw(st.sampled_from(spread.others))
        moved = json.loads(json.dumps(data))
        moved["servers"][spread.servers[0]]["zone"] = elsewhere
        same = [
            after
            for after in spreads(parsed(moved))
            if (after.kind, after.name, after.role) == (spread.kind, spread.name, spread.role)
        ]
        assert [after.mark != "one zone" for after in same] == [True]
