"""Any string that reaches a file of a memcached server or of a monitor is read as it was written by that file's reader.

Names, zones and addresses have no quoting in these formats: what a document may have there, all of them can express.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import format_readers
from readers.test_hostile_sql import HOSTILE
from rolecall.render.generation import Generation
from rolecall.render.rendering import render
from rolecall.render.settings import RenderSettings
from samples import ANY_TEXT, MEMCACHED, MONITOR, accepts, assigned, edited, fuzz, text_of

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True) | st.sampled_from(
    ["none", "all", "define", "host", "name", "servers", "register", "group", "products", "load", "update",
     "address", "on", "no", "a-", "a--b", "zone-a", "x" * 40]
)  # fmt: skip
ZONES = st.from_regex(r"[A-Za-z0-9._:@+-]{1,128}", fullmatch=True) | st.sampled_from(
    [".", "..", "...", ":", "::", "+", "-", "@", "a:b", "a-b", "+a", "A", "a", "0", "null", ".a", "a.", "x" * 128]
)  # fmt: skip
ADDRESSES = st.ip_addresses().map(str)
PORTS = st.integers(1, 65535)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rc-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, Any]:
    """A document: servers with any names, roles, zones and addresses, and products on them; one is a monitor."""
    names = draw(st.lists(NAMES, min_size=3, max_size=6, unique=True))
    products = draw(st.lists(NAMES, min_size=2, max_size=3, unique=True))
    roles, addresses = st.lists(NAMES, min_size=6, max_size=6), st.lists(ADDRESSES, min_size=6, max_size=6, unique=True)
    parts = zip(draw(roles), draw(st.lists(ZONES, min_size=6, max_size=6)), draw(addresses), strict=True)
    servers = {
        name: {"role": role, "zone": zone, "address": address,
               "products": draw(st.lists(st.sampled_from(products), max_size=2, unique=True))}
        for name, (role, zone, address) in zip(names, parts, strict=False)
    }  # fmt: skip
    servers[names[0]]["role"] = "monitor"
    made: dict[str, Any] = {"name": names[0], "document": edited()}
    product: dict[str, Any] = made["document"]["products"]["video"] | {
        "databases": [],
        "caches": [],
        "checks": [{"http": "/a"}],
    }
    made["document"] |= {
        "fleet": draw(NAMES), "servers": servers, "databases": {}, "caches": {},
        "products": {one: product | {"user": f"u{n}", "hostnames": [f"p{n}.org"]} for n, one in enumerate(products)},
    }  # fmt: skip
    return made


def monitor(fleet: Mapping[str, Any], **names: Any) -> Generation:
    return render(MONITOR, assigned(fleet["document"], server=fleet["name"]), RenderSettings("debian", names=names))


@fuzz(3, batches=True)
@given(fleet=fleets())
def test_munin_knows_every_server_by_its_zone_role_and_address(scratch: Path, fleet: dict[str, Any]) -> None:
    includes = scratch / "includes"
    includes.mkdir(exist_ok=True)
    made = monitor(fleet, munin_includes=str(includes), munin_port=4950)
    (scratch / "munin.conf").write_text(text_of(made, "munin/munin.conf", {}))
    read = format_readers.munin(scratch / "munin.conf")
    servers, wanted = fleet["document"]["servers"], dict[str, Any]()
    for name, one in servers.items():
        wanted[f"zone-{one['zone'].replace(':', '-')};{one['role']};{name}"] = (one["address"], "4950", "1")
    found = {name: (one.get("address"), one["port"], one["use_node_name"]) for name, one in read.items()}
    products = {name for one in servers.values() for name in one["products"]}
    assert {name: one for name, one in found.items() if not name.startswith("products;")} == wanted
    assert {name.partition(";")[2] for name in found if name.startswith("products;")} == products
    for product in products:
        on = [name for name, one in servers.items() if product in one["products"]]
        order = read[f"products;{product}"]["load.graph_order"].split(" ")
        assert sorted(one.partition("=")[2] for one in order) == sorted(
            f"zone-{servers[name]['zone'].replace(':', '-')};{servers[name]['role']};{name}:load.load" for name in on
        )


@fuzz(3, batches=True)
@given(fleet=fleets())
def test_nagios_knows_every_server_its_groups_and_its_products(scratch: Path, fleet: dict[str, Any]) -> None:
    read = format_readers.nagios(scratch, text_of(monitor(fleet), "nagios/objects.cfg", {}))
    servers = fleet["document"]["servers"]
    assert {one["host_name"]: one["address"] for one in read["host"]} == {
        name: one["address"] for name, one in servers.items()
    }
    groups = {one["hostgroup_name"]: set(one.get("members", "").split(",")) for one in read["hostgroup"]}
    for kind in ("zone", "role"):
        for word in {one[kind] for one in servers.values()}:
            assert groups[f"{kind}-{word}"] == {name for name, one in servers.items() if one[kind] == word}
    asked = {(one["host_name"], one["service_description"]) for one in read["service"]}
    on = [(name, one) for name, server in servers.items() for one in server["products"]]
    wanted = {(name, f"product {one}{more}") for name, one in on for more in ("", " check 1")}
    assert {one for one in asked if one[1].startswith("product ")} == wanted


@fuzz(3, batches=True)
@given(fleet=fleets())
def test_a_munin_node_and_the_message_of_the_day_tell_the_server(scratch: Path, fleet: dict[str, Any]) -> None:
    made, name = monitor(fleet), fleet["name"]
    servers = fleet["document"]["servers"]
    node = scratch / "munin-node.conf"
    node.write_text(text_of(made, "munin/munin-node.conf", {}))
    read = format_readers.munin_node(node)
    assert (read["fqdn"], read["sconf"]["host"], read["sconf"]["port"]) == (name, "*", "4949")
    allowed = [line.split()[1] for line in node.read_text().splitlines() if line.startswith("cidr_allow ")]
    monitors = [one["address"] for one in servers.values() if one["role"] == "monitor"]
    assert sorted(allowed) == sorted(["127.0.0.1/32", *(f"{one}/{128 if ':' in one else 32}" for one in monitors)])
    first, _, *rest = text_of(made, "motd", {}).splitlines()
    assert first == f"{name}: monitor of the fleet {fleet['document']['fleet']}, zone {servers[name]['zone']}"
    releases = {line.split()[1] for line in rest if line.startswith("  product ")}
    assert releases == set(servers[name]["products"])


PATHS = st.from_regex(r"/[!-~]{0,40}", fullmatch=True)
TEXTS = st.lists(ANY_TEXT | st.sampled_from(HOSTILE), min_size=8, max_size=12)
ASKS = '#!/bin/sh\nprintf \'%s\\0\' "${0##*/}" "$@"\n'


@fuzz(2, batches=True)
@example(texts=HOSTILE[::2], paths=["/'", "/$HOME", "/`id`", "/\\", "/#", "/;x", "/-n", "/%", "/!x", "/|"])
@example(texts=HOSTILE[1::2], paths=["/{{x}}", "/{%x%}", "/*", "/~", "/&", "/(", '/"', "/<x>", "/x", "/?a=b"])
@given(texts=TEXTS, paths=st.lists(PATHS, min_size=8, max_size=12))
def test_a_page_is_asked_for_with_the_words_of_the_document(scratch: Path, texts: list[str], paths: list[str]) -> None:
    for plugin in ("check_http", "negate"):
        (scratch / plugin).write_text(ASKS)
        (scratch / plugin).chmod(0o755)
    checks: list[dict[str, Any]] = []
    for n, text in enumerate(texts):
        more: dict[str, str] = [{"name": text}, {"contains": text}][n % 2]
        check: dict[str, Any] = {"http": paths[n % len(paths)], "status": 200 + n, "required": n % 3 > 0, **more}
        check["timeout"] = n + 0.5
        if accepts(edited({"products/video/checks": [check]})):
            checks.append(check)
    data = edited({"products/video/checks": checks})
    data["servers"]["mon1"] = {"role": "monitor", "address": "10.0.0.90", "zone": "a"}
    made = monitor({"document": data, "name": "mon1"}, plugins=str(scratch))
    script = scratch / "check_product"
    script.write_text(text_of(made, "nagios-plugins/check_product", {}))
    host = data["products"]["video"]["hostnames"][0]
    for n, check in enumerate(checks):
        title = (check.get("name") or f"GET {check['http']}").replace("|", "/")
        words = ["-p", "80", "-I", "10.0.0.12", "-H", host, "-u", check["http"], "-e", f" {check['status']}"]
        words += ["-s", check.get("contains")] * bool(check.get("contains")) + ["-t", f"{int(check['timeout'] + 0.5)}"]
        plain = ["check_http", *words]
        advice = ["negate", "-t", "700", "-s", "-c", "WARNING", "-u", "WARNING", f"{scratch}/check_http", *words]
        first, *rest = plain if check["required"] else advice
        for shell in format_readers.SHELLS[n % 2 :]:
            argv = (*shell, str(script), "video", str(n + 1), "10.0.0.12")
            assert format_readers.run(*argv).decode().split("\0")[:-1] == [f"{title}: {first}", *rest]


@st.composite
def caches(draw: st.DrawFn) -> dict[str, Any]:
    """A memcached server with caches of any names, ports and sizes."""
    ports = draw(st.lists(PORTS, min_size=1, max_size=4, unique=True))
    names = draw(st.lists(NAMES, min_size=len(ports), max_size=len(ports), unique=True))
    made = {
        name: {"port": port, "servers": ["mc1"], "memory_mb": draw(st.integers(1, 1 << 20))}
        for name, port in zip(names, ports, strict=True)
    }
    return {"caches": made, "address": draw(ADDRESSES), "zone": draw(ZONES)}


@fuzz(4, batches=True)
@given(drawn=caches())
def test_systemd_reads_what_a_memcached_is_started_with_as_it_was_written(scratch: Path, drawn: dict[str, Any]) -> None:
    data = edited()
    for product in data["products"].values():
        product["caches"] = []
    data["caches"] = drawn["caches"]
    data["servers"]["mc1"] |= {"address": drawn["address"], "zone": drawn["zone"]}
    made = render(MEMCACHED, assigned(data, server="mc1"), RenderSettings("debian"))
    found = sorted(one.path for one in made.files if one.path.startswith("memcached/"))
    assert found == sorted(f"memcached/{name}.env" for name in drawn["caches"])
    for name, cache in drawn["caches"].items():
        read = format_readers.environment_file(scratch, text_of(made, f"memcached/{name}.env", {}))
        assert {key: read[key] for key in ("PORT", "LISTEN", "MEMORY_MB", "CONNECTIONS")} == {
            "PORT": str(cache["port"]), "LISTEN": f"127.0.0.1,{drawn['address']}",
            "MEMORY_MB": str(cache["memory_mb"]), "CONNECTIONS": "4096",
        }  # fmt: skip
