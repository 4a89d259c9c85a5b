"""`fleet show` and the warnings of `fleet check`: what people see in pipes and on terminals, and what programs get."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import program
from box import document
from terminals import on_a_terminal

RELEASE = {"version": "1", "artifact": "a.tar.gz", "sha256": "0" * 64, "size": 1}
PRODUCTS = [f"product{n}" for n in range(12)]
ZONES = ["us-east-1a", "us-east-1b", "us-east-1c"]


def rolecall(*words: str) -> subprocess.CompletedProcess[str]:
    return program.rolecall(words)


def written(folder: Path, data: dict[str, Any]) -> str:
    path = folder / "fleet.json"
    path.write_text(json.dumps(data, indent=1))
    return str(path)


@pytest.fixture
def wide(tmp_path: Path) -> str:
    """60 servers in 3 zones, 12 products; the last product is in one zone only."""
    servers = {
        f"web{n}": {"role": "web", "address": f"10.0.1.{n}", "zone": ZONES[n % 3], "instance": f"i-{n:017x}",
                    "products": PRODUCTS[:11] if n % 2 else PRODUCTS[:6] + ([PRODUCTS[11]] if n % 6 == 0 else [])}
        for n in range(1, 51)
    }  # fmt: skip
    servers |= {f"db{n}": {"role": "database", "address": f"10.0.2.{n}", "zone": ZONES[n % 3]} for n in range(1, 5)}
    servers |= {f"mc{n}": {"role": "memcached", "address": f"10.0.3.{n}", "zone": ZONES[n % 3]} for n in range(1, 7)}
    fleet = document(
        servers=servers,
        products={name: {"hostnames": [f"{name}.org"], "user": name, "release": RELEASE} for name in PRODUCTS},
    )
    fleet["databases"]["blog"]["replication_password"] = "file:/etc/rolecall/secrets/replication"
    fleet["caches"]["sessions"]["servers"] = [f"mc{n}" for n in range(1, 7)]
    return written(tmp_path, fleet)


def test_fleet_check_warns_with_paths_and_places_and_its_exit_code_stays_0(tmp_path: Path) -> None:
    path = written(tmp_path, document())
    process = rolecall("fleet", "check", path)
    assert process.returncode == 0
    assert process.stdout.startswith(f"{path}: no mistakes. test, serial 1")
    head, *lines = process.stderr.splitlines()
    assert head == f"{path} has 2 warnings:"
    assert re.fullmatch(
        r"  \d+:\d+: databases\.blog\.replication_password: missing: nobody can follow its master, db1 — add .+",
        lines[0],
    )
    assert re.fullmatch(r"  \d+:\d+: caches\.sessions: has only one server, mc1 — .+ another zone: b", lines[1])
    as_data = rolecall("fleet", "check", path, "--json")
    answer = json.loads(as_data.stdout)
    assert (as_data.returncode, as_data.stderr, answer["mistakes"], answer["servers"]) == (0, "", [], 7)
    assert [warning["path"] for warning in answer["warnings"]] == [
        ["databases", "blog", "replication_password"],
        ["caches", "sessions"],
    ]
    assert all(
        warning["line"] > 1 and warning["column"] and warning["message"] and warning["hint"]
        for warning in answer["warnings"]
    )


def test_fleet_check_says_nothing_on_standard_error_where_nothing_is_to_be_said(tmp_path: Path) -> None:
    process = rolecall("fleet", "check", written(tmp_path, document(servers={}, databases={}, caches={})))
    assert (process.returncode, process.stderr) == (0, "")


def products(names: list[str]) -> dict[str, Any]:
    return {
        name: {"hostnames": [f"{name}.org"], "user": f"u{n}", "uid": 20_100 + n, "release": RELEASE}
        for n, name in enumerate(names)
    }


def test_what_is_so_of_many_is_said_once_and_json_has_each(tmp_path: Path) -> None:
    names = [f"p{n:02}" for n in range(21)]
    fleet = document(products=products(names), databases={}, caches={})
    parts = {"web1": names[:20], "web2": names[20:]}
    fleet["servers"] = {
        name: {"role": "web", "address": f"10.0.0.1{name[-1]}", "zone": "a", "products": part}
        for name, part in parts.items()
    }
    path = written(tmp_path, fleet)
    publication = ("publish", path, "--store", f"file://{tmp_path}/s", "--unsigned")
    for command in (("check", path), ("show", path), publication):
        (tmp_path / "s").mkdir(exist_ok=True)
        head, *lines = rolecall("fleet", *command).stderr.splitlines()
        assert (head, len(lines)) == (f"{path} has 21 warnings:", 1), command
        assert re.fullmatch(
            r"  \d+:\d+: products: 21 have only one web server: p00, p01, p02, p03, p04 and 16 more"
            " — give it another one",
            lines[0],
        )
    assert len(json.loads(rolecall("fleet", "check", path, "--json").stdout)["warnings"]) == 21
    shown = rolecall("fleet", "show", path).stdout
    assert shown.partition("products by server")[2].count("one server") == 1


def many(folder: Path, servers: int) -> str:
    """So many web servers in three zones, each with the same products but the last, which has another one too."""
    fleet = document(products=products(["blog", "rare", "shop"]))
    fleet["servers"] |= {
        f"web{n}": {"role": "web", "address": f"10.0.{n // 250 + 1}.{n % 250 + 1}", "zone": ZONES[n % 3],
                    "products": ["blog", "shop", *(["rare"] if n == servers else [])]}
        for n in range(1, servers + 1)
    }  # fmt: skip
    return written(folder, fleet)


def test_of_more_servers_than_a_person_reads_there_is_a_line_for_each_role_and_zone(tmp_path: Path) -> None:
    lines = rolecall("fleet", "show", many(tmp_path, 300)).stdout.splitlines()
    assert "  web        us-east-1b      100  2 of 3 products" in lines
    assert "  web        us-east-1a      100  3 of 3 products" in lines
    assert "  database   a                 2  1 candidate, 1 snapshot" in lines
    assert any("choose some by --role, --product and --zone" in line for line in lines)
    assert len(lines) < 30
    assert max(map(len, lines)) < 120


@pytest.mark.parametrize(
    ("words", "servers"),
    [
        (("--role", "database"), ["db2", "db4", "db1", "db3"]),
        (("--product", "rare"), ["web120"]),
        (("--role", "web", "--zone", "a"), []),
        (("--zone", "b", "--role", "database"), ["db1", "db3"]),
        (("--product", "blog", "--zone", "us-east-1b"), [f"web{n}" for n in range(1, 120, 3)]),
    ],
)
def test_role_product_and_zone_choose_what_is_shown_to_people_and_programs(
    tmp_path: Path, words: tuple[str, ...], servers: list[str]
) -> None:
    path = many(tmp_path, 120)
    answer = json.loads(rolecall("fleet", "show", path, *words, "--json").stdout)
    assert [row["name"] for row in answer["servers"]] == servers
    assert answer["selection"] == {words[n].removeprefix("--"): words[n + 1] for n in range(0, len(words), 2)}
    shown = rolecall("fleet", "show", path, *words).stdout
    assert re.findall(r"^  (\w+\d) +\S+ +10\.", shown, re.MULTILINE) == servers


def test_a_part_of_a_fleet_has_its_own_warnings_and_counts_zones_for_the_whole_fleet(tmp_path: Path) -> None:
    process = rolecall("fleet", "show", many(tmp_path, 120), "--product", "rare")
    assert [line.split(": ")[1] for line in process.stderr.splitlines()[1:]] == ["products.rare"]
    assert re.search(r"^  role +web +· +· +40 +40 +40 +120  uneven$", process.stdout, re.MULTILINE)
    assert "blog" not in process.stdout.partition("servers by zone")[2]


def test_what_no_server_has_is_answered_with_what_is_nearest(tmp_path: Path) -> None:
    process = rolecall("fleet", "show", many(tmp_path, 3), "--role", "wbe", "--zone", "us-east-1", "--product", "x")
    assert process.returncode == 78
    assert "the document has no role 'wbe', no product 'x', no zone 'us-east-1'" in process.stderr
    assert "did you mean 'web'?; products: blog, rare, shop; did you mean 'us-east-1" in process.stderr


def test_fleet_show_prints_servers_by_role_then_zones_then_products_and_the_warnings_last(tmp_path: Path) -> None:
    fleet = document(products={name: {"hostnames": [f"{name}.org"], "user": name, "release": RELEASE} for name in "ab"})
    fleet["servers"]["web1"]["products"] = ["a", "b"]
    fleet["servers"]["web2"] = {
        "role": "web",
        "address": "10.0.0.12",
        "zone": "b",
        "products": ["a"],
        "instance": "i-2",
    }
    fleet["servers"]["web3"] = {"role": "web", "address": "10.0.0.13", "zone": "b"}
    process = rolecall("fleet", "show", written(tmp_path, fleet))
    assert process.returncode == 0, process.stderr
    assert process.stdout == (
        "test, serial 1: 9 servers, 2 zones, 2 products, 1 database, 1 cache\n"
        "\n"
        "  server  zone  address    instance  what it is for\n"
        "database, 4 servers\n"
        "  db2     a     10.0.0.22  -         candidate of blog\n"
        "  db4     a     10.0.0.24  -         snapshot of blog\n"
        "  db1     b     10.0.0.21  -         master of blog\n"
        "  db3     b     10.0.0.23  -         replica of blog\n"
        "memcached, 1 server\n"
        "  mc1     a     10.0.0.31  -         cache sessions\n"
        "monitor, 1 server\n"
        "  mon1    a     10.0.0.90  -         -\n"
        "web, 3 servers\n"
        "  web1    a     10.0.0.11  -         a, b\n"
        "  web2    b     10.0.0.12  i-2       a\n"
        "  web3    b     10.0.0.13  -         -\n"
        "\n"
        "servers by zone\n"
        "                           a      b  total\n"
        "  role      database       2      2      4\n"
        "  role      memcached      1      ·      1  one server\n"
        "  role      monitor        1      ·      1  one server\n"
        "  role      web            1      2      3\n"
        "  product   a              1      1      2\n"
        "  product   b              1      ·      1  one server\n"
        "  database  blog           2      2      4\n"
        "  cache     sessions       1      ·      1  one server\n"
        "\n"
        "products by server\n"
        "          a\n"
        "          │ b: one server\n"
        "  web  a  ✓ ✓  web1\n"
        "  web  b  ✓ ·  web2\n"
        "  web  b  · ·  web3\n"
    )
    assert [line.split(": ")[1] for line in process.stderr.splitlines()[1:]] == [
        "products.b", "databases.blog.replication_password", "caches.sessions",
    ]  # fmt: skip


def test_fleet_show_gives_the_same_as_data(wide: str) -> None:
    process = rolecall("fleet", "show", "--json", wide)
    answer = json.loads(process.stdout)
    assert (process.returncode, process.stderr, answer["zones"], len(answer["servers"])) == (0, "", ZONES, 60)
    assert answer["servers"][0] == {
        "name": "db3", "role": "database", "zone": "us-east-1a", "address": "10.0.2.3", "instance": None,
        "products": [], "duties": {"blog": "replica"}, "caches": [],
    }  # fmt: skip
    assert {"kind": "product", "name": "product11", "role": "web", "servers": 8, "mark": "one zone",
            "zones": {"us-east-1a": 8, "us-east-1b": 0, "us-east-1c": 0}} in answer["spread"]  # fmt: skip
    assert answer["products"]["product11"] == [f"web{n}" for n in range(6, 51, 6)]
    assert [warning["path"] for warning in answer["warnings"]] == [["products", "product11"]]


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_no_line_that_it_would_fold_and_every_server_in_the_colour_of_its_zone(
    wide: str, width: int
) -> None:
    shown = on_a_terminal(width, "fleet", "show", wide)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    tables, _, after = plain.partition(wide)
    assert max(map(len, tables.splitlines())) <= width
    words = "products.product11: its 8 web servers are all in us-east-1a — have one elsewhere: us-east-1b"
    assert words in " ".join(after.split()), "folded at words"
    colours_of: dict[str, set[str]] = {}
    for colour, zone in re.findall(r"\x1b\[(\d+)m(us-east-1[abc]) ", shown):
        colours_of.setdefault(zone, set()).add(colour)
    assert [len(colours) for colours in colours_of.values()] == [1, 1, 1], "a zone has one colour, in every table"
    assert len(set.union(*colours_of.values())) == 3, "and no other has it"
    assert all(re.search(rf"  web{n} +us-east-1[abc] ", plain) for n in range(1, 51)), "names are there too"


def test_without_colour_every_mark_is_a_word(wide: str) -> None:
    shown = on_a_terminal(80, "fleet", "show", wide, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m|\x1b\[[0-9;]*9[0-7]m", shown)
    assert re.search(r"product11 .* 8  .*one zone", shown)
    assert "product11: one zone" in shown


def test_a_pipe_gets_a_line_a_server_however_long_it_is(tmp_path: Path) -> None:
    names = [f"a-product-with-a-long-name-{n}" for n in range(60)]
    fleet = document(products={name: {"hostnames": [f"{name}.org"], "user": f"u{n}", "release": RELEASE}
                              for n, name in enumerate(names)})  # fmt: skip
    fleet["servers"]["web1"]["products"] = names[1:]
    process = rolecall("fleet", "show", written(tmp_path, fleet))
    [line] = [line for line in process.stdout.splitlines() if line.startswith("  web1 ")]
    assert line.endswith(", ".join(sorted(names[1:])))
    assert len(line) > 1600
    assert "\x1b" not in process.stdout
    assert not re.search(r" $", process.stdout, re.MULTILINE)


def test_more_products_than_a_terminal_is_wide_are_shown_in_several_parts(tmp_path: Path) -> None:
    names = [f"p{n}" for n in range(60)]
    fleet = document(
        products={name: {"hostnames": [f"{name}.org"], "user": name, "release": RELEASE} for name in names}
    )
    fleet["servers"]["web1"]["products"] = names
    shown = on_a_terminal(80, "fleet", "show", written(tmp_path, fleet), NO_COLOR="1")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).partition("products by server\n")[2].partition("/")[0]
    assert max(map(len, plain.splitlines())) <= 80
    assert plain.count("✓") == 60
    assert plain.count("web1") == 3
    assert "all 60 products" in shown


def test_more_zones_than_a_terminal_is_wide_have_their_names_on_lines_of_their_own(tmp_path: Path) -> None:
    fleet = document(databases={}, caches={})
    fleet["servers"] = {
        f"web{n}": {"role": "web", "address": f"10.0.1.{n}", "zone": f"eu-central-{n}"} for n in range(1, 9)
    }
    shown = on_a_terminal(80, "fleet", "show", written(tmp_path, fleet), NO_COLOR="1")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).partition("servers by zone\n")[2].splitlines()
    *stairs, row = lines[:10]
    assert [line.lstrip(" │") for line in stairs] == [f"eu-central-{n}" for n in range(1, 9)] + ["total"]
    assert row.split() == ["role", "web", *"11111111", "8"]
    assert [line.index(line.lstrip(" │")) for line in stairs] == [
        i for i, character in enumerate(row) if character.isdigit()
    ]
    assert max(map(len, lines)) <= 80
    piped = rolecall("fleet", "show", str(tmp_path / "fleet.json")).stdout.partition("servers by zone\n")[2]
    assert piped.splitlines()[0].split() == [*(f"eu-central-{n}" for n in range(1, 9)), "total"]


def test_a_server_with_more_products_than_fit_into_a_line_tells_how_many_and_the_matrix_which(wide: str) -> None:
    narrow = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(80, "fleet", "show", wide))
    assert re.search(r"^  web1 .* 11 of 12 products$", narrow, re.MULTILINE)
    row = re.search(r"^  web  us-east-1b +((?:[✓·] ?)+) .*\bweb1\b", narrow, re.MULTILINE)
    assert row
    assert row[1].count("✓") == 11


def test_an_office_with_a_monitor_makes_nothing_uneven(tmp_path: Path) -> None:
    fleet = document()
    fleet["servers"]["office1"] = {"role": "monitor", "address": "192.0.2.9", "zone": "office"}
    process = rolecall("fleet", "show", written(tmp_path, fleet))
    assert re.search(r"database  blog +2 +2 +· +4$", process.stdout, re.MULTILINE)
    assert re.search(r"role +monitor +1 +· +1 +2$", process.stdout, re.MULTILINE)
    assert "office" not in process.stderr.partition(":\n")[2]


def test_fleet_show_reads_the_document_of_a_store(tmp_path: Path) -> None:
    written(tmp_path, document())
    shown = rolecall("fleet", "show", "--store", f"file://{tmp_path}")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == rolecall("fleet", "show", str(tmp_path / "fleet.json")).stdout
    assert "fleet.json has 2 warnings:" in shown.stderr


def test_fleet_show_of_an_empty_or_expired_fleet_says_so(tmp_path: Path) -> None:
    fleet = document(
        servers={}, databases={}, caches={}, issued="2020-01-01T00:00:00Z", not_after="2020-01-02T00:00:00Z"
    )
    process = rolecall("fleet", "show", written(tmp_path, fleet))
    assert process.stdout == ("test, serial 1: 0 servers, 0 zones, 0 products, 0 databases, 0 caches; it has EXPIRED\n")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ((), 2, "a document, or --store URL"),
        (("a.json", "--store", "file:///nowhere"), 2, "a document, or --store URL"),
        (("/nowhere/fleet.json",), 78, "cannot read /nowhere/fleet.json"),
    ],
)
def test_fleet_show_wants_one_document(words: tuple[str, ...], code: int, error: str) -> None:
    process = rolecall("fleet", "show", *words)
    assert (process.returncode, error in process.stderr, "Traceback" in process.stderr) == (code, True, False)


def test_a_document_with_a_mistake_is_not_shown(tmp_path: Path) -> None:
    fleet = document(caches={"sessions": {"servers": ["mc1"]}, "pages": {"servers": ["mc1"]}})
    process = rolecall("fleet", "show", written(tmp_path, fleet))
    assert (process.returncode, process.stdout) == (78, "")
    assert "caches.pages.servers[0]: port 11211 of server 'mc1' is taken by the cache 'sessions'" in process.stderr
