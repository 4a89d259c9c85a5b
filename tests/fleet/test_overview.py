"""A fleet at a glance: nothing is lost or counted twice, and what had better be otherwise is told with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.fleet.overview import Spread, matrix, server_rows, spreads, warnings, zones
from rolecall.fleet.schema import Fleet, parse_fleet
from rolecall.forms.mistakes import Mistake, dotted
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


def told(*edits: dict[str, Any]) -> list[Mistake]:
    raw = json.dumps(edited(*edits), indent=2).encode()
    return warnings(parse_fleet(raw), raw)


def test_a_fleet_that_outlives_each_of_its_machines_and_zones_is_told_nothing() -> None:
    assert told(SOUND) == []


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
]  # fmt: skip


@pytest.mark.parametrize(("edit", "path", "says", "remedy"), TABLE)
def test_each_warning_is_told_with_its_path_its_place_and_a_remedy(
    edit: dict[str, Any], path: str, says: str, remedy: str
) -> None:
    [found] = [one for one in told(SOUND, edit) if one.path == path_of(path)]
    assert says in found.message
    assert remedy in found.hint
    where, places = path_of(path), json_positions(json.dumps(edited(SOUND, edit), indent=2))
    while where not in places:
        where = where[:-1]
    assert (found.line, found.column) == places[where]


def test_warnings_stand_in_the_order_of_the_document() -> None:
    found = told({"databases/blog/candidate": GONE, "databases/blog/snapshot": GONE})
    assert [dotted(one.path) for one in found] == [
        "products.video", "databases.blog.candidate", "databases.blog.replication_password", "databases.blog.snapshot",
        "caches.sessions",
    ]  # fmt: skip
    assert [one.line for one in found] == sorted(one.line for one in found)


def test_a_fleet_with_one_zone_is_not_told_to_use_others() -> None:
    here = {f"servers/{name}/zone": "a" for name in (*json.loads(FLEET)["servers"], "mc2")}
    assert told(SOUND, here) == []
    [only] = told(SOUND, here, {"caches/sessions/servers": ["mc1"]})
    assert only.hint == "give it another one"
    [none] = told(SOUND, here, {"databases/blog/candidate": GONE})
    assert none.hint == "add 'candidate'"


def test_a_zone_with_nothing_but_a_monitor_is_no_place_for_anything_else() -> None:
    office = {"servers/office1": {"role": "monitor", "address": "192.0.2.9", "zone": "office"}}
    assert told(SOUND, office) == []
    [alone] = told(SOUND, office, {"caches/sessions/servers": ["mc1"]})
    assert alone.hint.endswith("us-east-1b, us-east-1c")
    found = {(one.kind, one.name): one for one in spreads(fleet(SOUND, office, {"servers/db4/zone": "us-east-1a"}))}
    assert (found["database", "blog"].zones["office"], found["database", "blog"].mark) == (0, "")
    assert (found["role", "monitor"].zones["office"], found["role", "monitor"].mark) == (1, "")


def test_two_products_with_one_password_and_accounts_of_their_own_are_told_nothing() -> None:
    assert told(SOUND, SHARED) == []


def test_a_master_and_a_candidate_in_one_zone_hear_nothing_where_that_is_the_only_one_for_them() -> None:
    here = {f"servers/{name}/zone": "a" for name in (*json.loads(FLEET)["servers"], "mc2")}
    office = {"servers/office1": {"role": "monitor", "address": "192.0.2.9", "zone": "office"}}
    assert told(SOUND, here, office) == []


def test_a_database_that_is_all_in_one_zone_is_told_so_once() -> None:
    assert [dotted(one.path) for one in told(SOUND, IN_ONE_ZONE)] == ["databases.blog"]


def test_a_database_with_one_server_is_told_so_once_and_needs_no_password_for_replication() -> None:
    alone = {"databases/blog/candidate": GONE, "databases/blog/replicas": [], "databases/blog/snapshot": GONE,
             "databases/blog/replication_password": GONE}  # fmt: skip
    assert [dotted(one.path) for one in told(SOUND, alone)] == ["databases.blog.candidate", "databases.blog.snapshot"]


def test_a_product_that_no_server_of_the_document_has_may_be_that_of_tagged_machines() -> None:
    edit = {"servers/web1/products": ["blog"], "servers/web2/products": ["blog"]}
    assert told(SOUND, edit) == []
    assert [one.mark for one in spreads(fleet(SOUND, edit)) if one.name == "video"] == ["no server"]


def test_servers_of_another_role_do_not_stand_in_for_those_of_a_product() -> None:
    worker = {"role": "worker", "address": "10.0.9.9", "zone": "us-east-1b", "products": ["video"]}
    found = told(SOUND, {"servers/web2/products": ["blog"], "servers/worker1": worker})
    assert [(dotted(one.path), one.message) for one in found] == [
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
    more = {f"servers/web{n}": {"role": "web", "address": f"10.0.1.{n}", "zone": "us-east-1a"} for n in (10, 9, 3)}
    assert [row.name for row in server_rows(fleet(more)) if row.role == "web"] == [
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
    made = parsed(data)
    found = spreads(made)
    for one in found:
        assert sum(one.zones.values()) == len(one.servers) == len(set(one.servers))
        assert list(one.zones) == zones(made)
    assert sorted(name for one in found if one.kind == "role" for name in one.servers) == sorted(made.servers)
    for name in NAMES:
        having = [server for one in found if (one.kind, one.name) == ("product", name) for server in one.servers]
        assert sorted(having) == sorted(server for server, one in made.servers.items() if name in one.products)


@fuzz(30)
@given(fleets())
def test_the_matrix_has_each_server_of_a_serving_role_once_with_exactly_its_products(data: dict[str, Any]) -> None:
    made = parsed(data)
    serving = {one.role for one in made.servers.values() if one.products}
    seen = [server for row in matrix(made) for server in row.servers]
    assert sorted(seen) == sorted(name for name, one in made.servers.items() if one.role in serving)
    for row in matrix(made):
        for server in row.servers:
            one = made.servers[server]
            assert (one.role, one.zone, frozenset(one.products)) == (row.role, row.zone, row.products)


@fuzz(30)
@given(fleets())
def test_every_warning_has_a_place_and_a_remedy_and_the_order_of_servers_changes_none(data: dict[str, Any]) -> None:
    raw = json.dumps(data, indent=1).encode()
    found = warnings(parse_fleet(raw), raw)
    assert all(one.line > 0 and one.column > 0 and one.hint for one in found)
    turned = json.dumps({**data, "servers": dict(reversed(data["servers"].items()))}, indent=1).encode()
    again = warnings(parse_fleet(turned), turned)
    assert {(one.path, one.message, one.hint) for one in again} == {(one.path, one.message, one.hint) for one in found}


@fuzz(30)
@given(fleets(), st.data())
def test_who_does_what_a_warning_about_zones_says_does_not_hear_it_again(
    data: dict[str, Any], choice: st.DataObject
) -> None:
    made = parsed(data)
    bad = [one for one in spreads(made) if one.mark == "one zone"]
    assert {one.path for one in warnings(made, json.dumps(data).encode()) if "are all in" in one.message} == {
        (f"{one.kind}s", one.name) for one in bad if one.kind != "role"
    }
    for one in bad:
        elsewhere = choice.draw(st.sampled_from(one.others))
        moved = json.loads(json.dumps(data))
        moved["servers"][one.servers[0]]["zone"] = elsewhere
        same = [
            after
            for after in spreads(parsed(moved))
            if (after.kind, after.name, after.role) == (one.kind, one.name, one.role)
        ]
        assert [after.mark != "one zone" for after in same] == [True]
