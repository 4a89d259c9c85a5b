"""Publishing by the real program: what an operator's file and the store are afterwards, or that both are as before."""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import program
from box import ROLECALL
from desk import Desk, new_desk, opened
from rolecall.errors import ConflictFault
from rolecall.fleet.succession import succession_mistakes
from rolecall.forms.editing import Edit
from rolecall.forms.mistakes import Mistakes
from rolecall.operator.offline import live_payload
from rolecall.operator.publish import Published, Signing, publish, publish_file, renewed
from rolecall.store.file import FileStore
from samples import ANY_JSON, ANY_TEXT, edited, fleet, fuzz
from servers.s3 import BUCKET, KEY_ID, REGION, SECRET, Answer, Request, S3Server
from signed import NAMESPACE, Keys, Member

Done = subprocess.CompletedProcess[str]
PASSWORD = "correct horse"
KEY = "prod/fleet.json"


@pytest.fixture
def desk(tmp_path: Path, keys: Keys) -> Desk:
    return new_desk(tmp_path, keys)


# What is written


def without_succession(text: str) -> str:
    """A document without what publishing says of its database's masters."""
    return re.sub(r',\s*"succession"\s*:\s*\{[^{}]*\}', "", text)


def test_the_first_publication_signs_the_file_and_gives_it_its_times(desk: Desk) -> None:
    before = desk.file.read_text()
    output = desk.publish("--valid", "12h").stdout
    assert f"published serial 2, the first one: {desk.url}/fleet.json, signed by ops@example.com; good until" in output
    payload, signature = opened(desk.live.read_bytes())
    assert desk.file.read_bytes() == payload
    (desk.folder / "signature").write_text(signature)
    argv = ["ssh-keygen", "-Y", "verify", "-n", NAMESPACE, "-I", "ops@example.com", "-f", str(desk.signers)]
    verified = subprocess.run([*argv, "-s", "signature"], input=payload, cwd=desk.folder, capture_output=True)
    assert verified.returncode == 0, verified.stderr
    issued, not_after = (datetime.fromisoformat(desk.data()[key]) for key in ("issued", "not_after"))
    assert not_after - issued == timedelta(hours=12)
    assert abs(datetime.now(UTC) - issued) < timedelta(minutes=1)
    after = re.sub(r'"serial": 2', '"serial": 1', payload.decode())
    for key in ("issued", "not_after"):
        after = re.sub(rf'"{key}": "[^"]*"', f'"{key}": "{json.loads(before)[key]}"', after)
    assert without_succession(after) == before, "all the rest is as it was"


def test_every_publication_raises_the_serial_and_keeps_the_files_mode(desk: Desk) -> None:
    desk.file.chmod(0o640)
    desk.publish()
    answer = json.loads(desk.publish("--json").stdout)
    assert (answer["serial"], answer["before"], answer["signer"]) == (3, 2, "ops@example.com")
    assert answer["url"] == f"{desk.url}/fleet.json"
    assert (desk.data()["serial"], desk.file.stat().st_mode & 0o777) == (3, 0o640)
    assert datetime.fromisoformat(answer["not_after"]) == datetime.fromisoformat(desk.data()["not_after"])
    assert "published serial 4, in place of serial 3" in desk.publish(key="two").stdout
    desk.edit(serial=100)
    assert "published serial 101, in place of serial 4" in desk.publish().stdout


def test_what_had_better_be_otherwise_is_told_as_fleet_check_tells_it_and_is_published_all_the_same(desk: Desk) -> None:
    published = desk.publish()
    assert "published serial 2" in published.stdout
    checked = desk.rolecall("fleet", "check", str(desk.file))
    assert published.stderr == checked.stderr
    assert "caches.sessions: has only one server, mc1" in published.stderr
    again = desk.publish("--json")
    as_data = json.loads(desk.rolecall("fleet", "check", "--json", str(desk.file)).stdout)
    assert (again.stderr, json.loads(again.stdout)["warnings"]) == ("", as_data["warnings"])


def test_a_file_that_is_a_link_stays_one_and_what_it_leads_to_has_the_new_serial(desk: Desk) -> None:
    real = desk.file.rename(desk.folder / "real.json")
    desk.file.symlink_to(real)
    desk.publish()
    desk.publish()
    assert desk.file.is_symlink()
    assert json.loads(real.read_text())["serial"] == 3


def test_a_node_takes_what_was_published_and_what_was_published_next(desk: Desk, tmp_path: Path) -> None:
    member = Member(tmp_path / "member", desk.keys)
    member.settle(desk.url)
    desk.file.write_bytes(member.payload(1, "a"))
    desk.publish()
    report = member.run("boot")
    assert (report.outcome, report.signer, report.serial) == ("ready", "ops@example.com", 2)
    desk.edit(servers={"web1": {**desk.data()["servers"]["web1"], "zone": "b"}})
    desk.publish()
    assert (member.run().serial, member.zone) == (3, "b")
    desk.publish()
    assert (member.run().outcome, member.serials.popitem()[1]) == ("unchanged", 4)


SHOP = """{ "shop" : {"hostnames": ["shop.example.com"], "user": "p-shop", "environment": {"A": "Zürich \u2603 \\u00e9 𝄞"},
  "release": {"version": "1", "artifact": "shop/1.tar", "size": 1, "sha256":"0000000000000000000000000000000000000000000000000000000000000000"} }}"""  # noqa: E501
LAYOUTS: dict[str, Callable[[str], bytes]] = {
    "on one line": lambda text: json.dumps(json.loads(text)).encode(),
    "without an end of the last line": lambda text: text.rstrip().encode(),
    "with tabs and empty lines": lambda text: b"\n\n" + text.replace("   ", "\t").replace("\n", "\n\n").encode(),
    "with the line ends of Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "with letters of all alphabets": lambda text: text.replace('"products": {}', '"products": ' + SHOP).encode(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fetch_gives_back_what_its_author_wrote_to_the_byte(desk: Desk, layout: str) -> None:
    before = LAYOUTS[layout](desk.file.read_text())
    desk.file.write_bytes(before)
    desk.publish()
    pattern = rb'"(serial|issued|not_after)"(\s*:\s*)("[^"]*"|[0-9]+)'
    after = without_succession(desk.file.read_bytes().decode()).encode()
    assert re.sub(pattern, rb'"\1"\2', after) == re.sub(pattern, rb'"\1"\2', before)
    fetched = subprocess.run([*ROLECALL, "fleet", "fetch", "--store", desk.url], capture_output=True, check=True)
    assert fetched.stdout == desk.file.read_bytes()


VALUES = {"serial": "43", "issued": '"2026-11-22T18:00:00Z"', "not_after": '"2026-11-29T18:00:00Z"'}
BLANK = st.text(" \t\r\n", max_size=2)


@st.composite
def strings(draw: st.DrawFn, text: str) -> str:
    """A JSON string, any of its letters as an escape."""
    letters = []
    for char in text:
        escaped = "".join(f"\\u{unit:04x}" for unit in units(char))
        free = char not in '"\\' and char >= " " and not "\ud800" <= char <= "\udfff"
        letters.append(draw(st.sampled_from([char, char, char, escaped])) if free else escaped)
    return f'"{"".join(letters)}"'


def units(char: str) -> list[int]:
    """As UTF-16 has it, and so JSON's escapes."""
    raw = char.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]


@st.composite
def values(draw: st.DrawFn, value: Any) -> str:
    """A JSON text of a value, with blanks anywhere."""
    if isinstance(value, str):
        text = draw(strings(value))
    elif isinstance(value, list):
        text = "[" + ",".join([draw(values(entry)) for entry in value] or [draw(BLANK)]) + "]"
    elif isinstance(value, dict):
        members = [draw(member_of(key, draw(values(member)))) for key, member in value.items()]
        text = "{" + ",".join(members or [draw(BLANK)]) + "}"
    else:
        text = json.dumps(value)
    return draw(BLANK) + text + draw(BLANK)


@st.composite
def member_of(draw: st.DrawFn, key: str, value: str) -> str:
    return draw(BLANK) + draw(strings(key)) + draw(BLANK) + ":" + value


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and the same one with the three new values; keys of the same names lie around in deeper places."""
    names = st.sampled_from([*VALUES, "products"]) | ANY_TEXT
    decoys = st.dictionaries(names, ANY_JSON | st.dictionaries(names, ANY_JSON, max_size=3), max_size=3)
    rest = draw(st.dictionaries(ANY_TEXT.filter(lambda key: key not in VALUES), decoys | ANY_JSON, max_size=3))
    before, after = [], []
    for key in draw(st.permutations([*VALUES, *rest])):
        left, right = draw(BLANK), draw(BLANK)
        name = draw(member_of(key, ""))
        old = draw(values(rest[key])) if key in rest else draw(old_values())
        before.append(f"{name}{left}{old}{right}")
        after.append(f"{name}{left}{VALUES.get(key, old)}{right}")
    ends = draw(st.tuples(BLANK, BLANK))
    return ends[0] + "{" + ",".join(before) + "}" + ends[1], ends[0] + "{" + ",".join(after) + "}" + ends[1]


@st.composite
def old_values(draw: st.DrawFn) -> str:
    return draw(values(draw(st.integers(1) | ANY_TEXT | ANY_JSON))).strip(" \t\r\n")


@fuzz(12)
@given(documents())
def test_of_a_documents_text_three_values_are_renewed_and_not_a_byte_more(texts: tuple[str, str]) -> None:
    before, after = texts
    issued = datetime(2026, 11, 22, 18, tzinfo=UTC)
    assert renewed(before, 43, issued, issued + timedelta(days=7)) == after


# What is refused


def test_who_began_from_an_older_document_is_told_so_and_nothing_is_written(desk: Desk) -> None:
    desk.publish()
    own = desk.file.read_bytes()
    desk.edit(caches={"sessions": {"servers": ["mc1"], "memory_mb": 128}})
    desk.publish(key="two")
    desk.file.write_bytes(own)
    error = desk.refused(ok=75)
    assert f"was made from serial 2, but {desk.url}/fleet.json already has serial 3" in error
    assert "rolecall fleet fetch" in error
    assert "set the document's serial to 3" in error
    theirs = desk.rolecall("fleet", "fetch", "--store", desk.url).stdout
    desk.file.write_text(theirs.replace('"epoch": 1', '"epoch": 2'))
    assert "published serial 4, in place of serial 3" in desk.publish().stdout
    assert desk.data()["caches"]["sessions"]["memory_mb"] == 128


def test_a_key_that_the_images_do_not_allow_is_refused_before_anything_is_written(desk: Desk) -> None:
    assert "the signature is refused" in desk.refused(key="eve")
    assert not desk.live.exists()
    desk.publish()
    assert "the signature is refused" in desk.refused(key="eve")
    desk.signers.write_text(desk.keys.line("ops", 'namespaces="git"') + "\n")
    assert "not permitted for use in signature namespace" in desk.refused()
    desk.signers.unlink()
    assert f"cannot read the keys in {desk.signers}" in desk.refused()


def test_an_unsigned_document_takes_the_place_of_an_unsigned_one_only(desk: Desk) -> None:
    desk.publish("--unsigned", key="")
    assert desk.live.read_bytes() == desk.file.read_bytes()
    desk.publish("--unsigned", key="")
    assert json.loads(desk.live.read_bytes())["serial"] == 3
    desk.publish()
    error = desk.refused("--unsigned", key="")
    assert "is signed: nodes would refuse one that is not" in error
    assert "--key" in error


def test_another_fleets_document_is_not_replaced(desk: Desk) -> None:
    desk.publish()
    desk.edit(fleet="staging", serial=9)
    assert f"{desk.url}/fleet.json is the document of the fleet 'test'" in desk.refused()


def promote(desk: Desk, epoch: int, master: str) -> None:
    other = {"db1": "db2", "db2": "db1"}[master]
    desk.edit(databases={"blog": {**desk.data()["databases"]["blog"], "epoch": epoch, "master": master,
                                  "candidate": other}})  # fmt: skip


@pytest.mark.parametrize(
    ("epoch", "master", "message", "remedy"),
    [
        (7, "db2", "is still 7, but the master was 'db1' and is 'db2' now", "raise it to 8"),
        (6, "db1", "is 6, and 7 in the document that this one replaces", "set it to 7; to 8, if the master changes"),
        (6, "db2", "is 6, and 7 in the document that this one replaces", "set it to 7; to 8, if the master changes"),
    ],
)
def test_another_master_in_the_same_epoch_or_an_older_epoch_is_refused_with_its_place(
    desk: Desk, epoch: int, master: str, message: str, remedy: str
) -> None:
    promote(desk, 7, "db1")
    desk.publish()
    promote(desk, epoch, master)
    error = desk.refused()
    assert f"{desk.file} has 1 mistake; nothing was changed:" in error
    assert re.search(rf"\d+:\d+: databases\.blog\.epoch: {re.escape(message)} — {re.escape(remedy)}", error)
    line = int(re.findall(r"(\d+):\d+: databases", error)[0])
    assert '"epoch"' in desk.file.read_text().splitlines()[line - 1]
    shown = desk.rolecall("fleet", "diff", "--store", desk.url, str(desk.file)).stderr
    assert f"{line}:" in shown
    assert f"databases.blog.epoch: {message}" in shown, "the diff before it tells it too"
    promote(desk, 8, master)
    assert desk.rolecall("fleet", "diff", "--store", desk.url, str(desk.file)).stderr == ""
    desk.publish()


def test_a_product_keeps_its_account_and_no_other_product_gets_it(desk: Desk) -> None:
    release = {"version": "1", "artifact": "blog/1.tar.gz", "sha256": "0" * 64, "size": 1}
    blog, video, shop = (
        {"hostnames": [f"{name}.example.com"], "user": f"p-{name}", "runtime": "static", "release": release}
        for name in ("blog", "video", "shop")
    )
    desk.edit(products={"blog": blog, "video": video})
    desk.publish()
    desk.edit(products={"blog": {**blog, "user": "words"}, "shop": {**shop, "user": "p-video"}})
    file = str(desk.file)
    for error in (desk.refused(), desk.rolecall("fleet", "diff", "--store", desk.url, file).stderr):
        for place in ("was 'p-blog' in the document", "'p-video' is the account of 'video' in the document"):
            line = re.search(rf"(\d+):\d+: products\.(?:blog|shop)\.user: {place}", error)
            assert line, error
            assert '"user"' in desk.file.read_text().splitlines()[int(line[1]) - 1]
    desk.edit(products={"blog": blog, "shop": shop})
    desk.publish()


def test_an_account_that_no_product_may_have_any_more_can_be_changed() -> None:
    """As 0.1.0 took it."""
    before = edited({"products/video/user": "video"})
    assert succession_mistakes(before, fleet(), json.dumps(edited())) == []


def test_a_higher_epoch_a_new_database_and_one_that_is_gone_are_published(desk: Desk) -> None:
    desk.publish()
    desk.edit(databases={})
    desk.publish()
    desk.write(serial=3)
    promote(desk, 5, "db2")
    desk.publish()
    promote(desk, 9, "db2")
    desk.publish()


@pytest.mark.parametrize(
    "databases",
    [
        "odd",
        {"blog": 5},
        {"blog": {"master": "db2"}},
        {"blog": {"epoch": "7", "master": []}},
        {"blog": {"epoch": True}},
    ],
)
def test_databases_that_nobody_could_follow_are_no_obstacle_to_the_document_that_replaces_them(
    desk: Desk, databases: Any
) -> None:
    desk.live.write_text(json.dumps({**desk.data(), "databases": databases}))
    desk.publish()


def test_a_document_with_mistakes_is_refused_with_all_of_them(desk: Desk) -> None:
    desk.publish()
    desk.edit(databses={}, serial="9", servers={"web1": {"role": "web", "zone": "a"}})
    error = desk.refused()
    for words in ("databses: unknown key", "serial: must be a whole number", "servers.web1.address: missing"):
        assert words in error
    desk.file.write_bytes(b"{}")
    assert "serial: missing" in desk.refused()


NO_DOCUMENTS: dict[str, tuple[bytes | None, str]] = {
    "cut off": (b'{"format": 1,', "not JSON"),
    "not UTF-8": (b'{"fleet": "\xff"}', "is not UTF-8"),
    "with a byte order mark": (b"\xef\xbb\xbf{}", "not JSON"),
    "not there": (None, "No such file"),
}


@pytest.mark.parametrize("name", NO_DOCUMENTS)
def test_a_file_that_is_no_document_is_refused(desk: Desk, name: str) -> None:
    raw, words = NO_DOCUMENTS[name]
    if raw is None:
        desk.file.unlink()
    else:
        desk.file.write_bytes(raw)
    assert words in desk.refused()


@pytest.mark.parametrize("raw", [b"not JSON", b'{"rolecall": "signed document", "payload": "{}"}'])
def test_what_is_no_document_in_the_store_is_for_people_to_look_at(desk: Desk, raw: bytes) -> None:
    desk.live.write_bytes(raw)
    assert f"{desk.url}/fleet.json" in desk.refused()
    desk.live.unlink()
    desk.publish()


def test_a_store_that_is_out_is_told_and_the_file_is_as_it_was(desk: Desk) -> None:
    shutil.rmtree(desk.live.parent)
    assert f"cannot read {desk.live}" in desk.refused(ok=75)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("--unsigned", "--key", "key"), 2, "either --key FILE, an OpenSSH key, or --unsigned"),
        (("--key", "nowhere"), 1, "there is no key nowhere"),
        (("--key", "fleet.json"), 1, "fleet.json did not sign"),
        (("--unsigned", "--valid", "soon"), 2, "'soon' is not a duration such as 12h or 7d"),
        (("--unsigned", "--valid", "-1h"), 2, ""),
    ],
)
def test_what_the_program_was_told_wrongly_is_said(desk: Desk, words: tuple[str, ...], code: int, error: str) -> None:
    assert error in desk.refused(*words, key="", ok=code)


# A change, instead of a whole file: of a file's text, or of the text that the store has


def signing(desk: Desk) -> Signing:
    """As the words of `Desk.publish` have it."""
    return Signing(str(desk.keys.file("ops")), str(desk.signers), 3600)


def change(desk: Desk, *edits: Edit, text: str | None = None) -> Published:
    """Edit and publish the document of the store; `text`: as it was when somebody read it."""
    store = FileStore(str(desk.live.parent))
    source = store.location("fleet.json")
    return publish(text or live_payload(store).decode(), edits, store, signing(desk), source=source)


ZONE = Edit("replace", ("servers", "web1", "zone"), "b")


def test_a_change_of_the_stores_document_is_published_and_its_author_finds_all_the_rest_as_it_was(desk: Desk) -> None:
    desk.file.write_bytes(LAYOUTS["with the line ends of Windows"](desk.file.read_text()))
    desk.publish()
    before = desk.file.read_bytes()
    published = change(
        desk,
        ZONE,
        Edit("add", ("caches", "sessions", "servers", "-"), "mc2"),
        Edit("add", ("servers", "mc2"), {"role": "memcached", "address": "10.9.0.1", "zone": "b"}),
    )
    payload, _ = opened(desk.live.read_bytes())
    assert (published.payload, published.before, published.fleet.serial) == (payload, 2, 3)
    assert published.signer == "ops@example.com"
    assert desk.file.read_bytes() == before, "the operator's own file is not looked at"
    data = json.loads(payload)
    assert (data["servers"]["web1"]["zone"], data["caches"]["sessions"]["servers"]) == ("b", ["mc1", "mc2"])
    lines = payload.splitlines(keepends=True)
    assert all(line.endswith(b"\r\n") for line in lines)
    removed = [line for line in before.splitlines(keepends=True) if line not in lines]
    keys = [line.split(b'"')[1] for line in removed]
    times = {b"issued", b"not_after"}  # in whole seconds: both documents may be of the same one
    assert [key for key in keys if key not in times] == [b"serial", b"zone", b"mc1"], "a comma"


def test_a_change_of_a_file_is_published_and_stands_in_the_file_then(desk: Desk) -> None:
    published = publish_file(desk.file, (ZONE,), FileStore(str(desk.live.parent)), signing(desk))
    assert published.payload == desk.file.read_bytes() == opened(desk.live.read_bytes())[0]
    assert (desk.data()["servers"]["web1"]["zone"], desk.data()["serial"]) == ("b", 2)


def test_a_change_of_a_text_that_somebody_has_replaced_since_is_not_published(desk: Desk) -> None:
    desk.publish()
    text = desk.file.read_text()
    desk.publish(key="two")
    before = desk.look()
    with pytest.raises(ConflictFault, match=r"was made from serial 2, but .* already has serial 3"):
        change(desk, ZONE, text=text)
    assert desk.look() == before


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("replace", ("servers", "web9", "zone"), "b"), "servers.web9.zone: there is no 'web9' here"),
        (Edit("replace", ("servers", "web1", "zone"), "b c"), "servers.web1.zone: 'b c' is not a word"),
        (Edit("replace", ("databases", "blog", "master"), "db2"), "server 'db2' is master of this database already"),
        (Edit("remove", ("servers", "mc1")), "caches.sessions.servers[0]: there is no server 'mc1'"),
        (Edit("add", ("servers", "web1", "colour"), "red"), "servers.web1.colour: unknown key"),
    ],
)
def test_a_change_that_is_a_mistake_is_refused_with_its_position_and_nothing_is_written(
    desk: Desk, edit: Edit, message: str
) -> None:
    desk.publish()
    before = desk.look()
    with pytest.raises(Mistakes) as caught:
        change(desk, edit)
    assert message in caught.value.message
    assert all(mistake.line for mistake in caught.value.mistakes)
    with pytest.raises(Mistakes):
        publish_file(desk.file, (edit,), FileStore(str(desk.live.parent)), signing(desk))
    assert desk.look() == before


# Keys with a passphrase


@contextmanager
def agent(folder: Path) -> Iterator[str]:
    """An ssh-agent of our own, ended at the end; its socket."""
    socket = folder / "agent.sock"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert str(socket) in process.stdout.readline()
            yield str(socket)
        finally:
            process.terminate()


@pytest.fixture
def locked(desk: Desk) -> str:
    """The name of a key with a passphrase."""
    path = desk.keys.folder / "locked"
    if not path.exists():
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", PASSWORD, "-C", "locked", "-f", str(path)]
        subprocess.run(argv, check=True)
    desk.signers.write_text(desk.keys.line("locked") + "\n")
    return "locked"


def test_a_key_with_a_passphrase_signs_by_its_public_half_while_the_agent_has_it(
    desk: Desk, locked: str, folder: Path
) -> None:
    public = desk.keys.file(locked).with_suffix(".pub")
    alone = desk.folder / "alone.pub"  # without the private key beside it, as on a machine that one has come to by ssh
    alone.write_bytes(public.read_bytes())
    words = ("--key", str(alone), "--signers", str(desk.signers))
    askpass = folder / "askpass"
    askpass.write_text(f"#!/bin/sh\necho '{PASSWORD}'\n")
    askpass.chmod(0o755)
    with agent(folder) as socket:
        desk.environment = {"SSH_AUTH_SOCK": socket}
        error = desk.refused(*words, key="", ok=1)
        assert "alone.pub did not sign" in error
        assert "ssh-add -l" in error
        env = {**os.environ, "SSH_AUTH_SOCK": socket, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(["ssh-add", "-q", desk.keys.file(locked)], env=env, check=True, stdin=subprocess.DEVNULL)
        assert "signed by locked@example.com" in desk.publish(*words, key="").stdout
    assert opened(desk.live.read_bytes())[0] == desk.file.read_bytes()


def test_a_passphrase_that_nobody_types_leaves_everything_as_it_was(desk: Desk, locked: str) -> None:
    desk.environment = {"SSH_AUTH_SOCK": "", "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
    error = desk.refused(key=locked, ok=1)
    assert "locked did not sign" in error
    assert "is its passphrase right" in error


# What would change


def test_diff_and_plan_show_what_publishing_a_file_would_change(desk: Desk) -> None:
    release = {"version": "1", "artifact": "blog/1.tar.gz", "sha256": "0" * 64, "size": 1}
    blog = {"hostnames": ["blog.example.com"], "user": "p-blog", "runtime": "static", "release": release}
    web = {"role": "web", "address": "10.0.0.11", "zone": "a", "products": ["blog"]}
    other = {"role": "web", "address": "10.0.0.12", "zone": "a", "products": []}
    desk.edit(products={"blog": blog}, servers={**desk.data()["servers"], "web1": web, "web2": other})
    desk.publish()
    desk.edit(products={"blog": {**blog, "hostnames": ["blog.example.com", "www.example.com"]}})
    file, store = str(desk.file), ("--store", desk.url)
    diff = desk.rolecall("fleet", "diff", *store, file).stdout
    assert "web1" in diff
    assert "1 of 8 servers would change" in diff
    live = desk.rolecall("plan", *store, "--as", "web1", "--platform", "debian").stdout
    assert "+++ " in live
    assert "www.example.com" not in live
    plan = desk.rolecall("plan", *store, "--fleet", file, "--as", "web1", "--platform", "debian").stdout
    added = [line for line in plan.splitlines() if line.startswith("+") and "www.example.com" in line]
    assert added


# In S3


class Crossroads(S3Server):
    """An S3 where those who write the document wait for one another: all have read it before any of them writes."""

    def __init__(self) -> None:
        super().__init__()
        self.expected, self.here, self.crossing = 0, set[bytes](), threading.Condition()

    def expect(self, count: int) -> None:
        """So many come next, each with something of their own; who comes later, or again, need not wait."""
        self.expected, self.here = count, set()

    def answer(self, request: Request) -> Answer:
        if request.method == "PUT" and request.key == KEY:
            with self.crossing:
                self.here.add(request.body)
                self.crossing.notify_all()
                self.crossing.wait_for(lambda: len(self.here) >= self.expected, 20)
        return super().answer(request)


def writes(server: S3Server) -> int:
    """How often the document was written."""
    puts = [request for request in server.requests if (request.method, request.key) == ("PUT", KEY)]
    return len([request for request in puts if request.status == 200])


@pytest.fixture
def s3() -> Iterator[Crossroads]:
    with Crossroads() as server:
        yield server


def in_s3(server: S3Server, folder: Path, keys: Keys, name: str = "ops") -> Desk:
    """The desk of one of several operators."""
    folder.mkdir()
    url = f"s3://{BUCKET}/prod?region={REGION}&endpoint={server.url}&style=path"
    desk = Desk(folder, keys, url, {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET})
    desk.signers.write_text(f"{keys.line(name)}\n")
    desk.write()
    return desk


def test_of_six_who_publish_at_once_one_wins_and_the_others_work_is_not_lost(
    s3: Crossroads, tmp_path: Path, keys: Keys
) -> None:
    desks = {f"op{n}": in_s3(s3, tmp_path / f"op{n}", keys) for n in range(6)}
    waiting = dict(desks)
    for serial, racers in ((2, 6), (3, 5)):  # at first into an empty store, then in place of another document
        puts = writes(s3)
        s3.expect(racers)
        for name, desk in waiting.items():
            web = desk.data()["servers"]["web1"]
            desk.edit(servers={**desk.data()["servers"], name: {**web, "address": f"10.1.0.{name[-1]}"}})
        before = {name: desk.file.read_bytes() for name, desk in waiting.items()}
        with ThreadPoolExecutor(racers) as pool:
            processes = dict(zip(waiting, pool.map(at_once, waiting.values()), strict=True))
        (winner,) = (name for name, process in processes.items() if process.returncode == 0)
        assert f"published serial {serial}" in processes[winner].stdout
        live = opened(s3.get(BUCKET, "prod/fleet.json"))[0]
        assert live == desks[winner].file.read_bytes()
        assert writes(s3) == puts + 1
        kept = [key for _, key in s3.objects if "/history/" in key]
        assert sorted(kept) == [f"prod/history/{number}.json" for number in range(2, serial + 1)]
        assert s3.get(BUCKET, f"prod/history/{serial}.json") == s3.get(BUCKET, "prod/fleet.json")
        del waiting[winner]
        for name, desk in waiting.items():
            assert processes[name].returncode == 75
            assert "somebody else has written it in the meantime" in processes[name].stderr
            assert "read it again, decide again, then write" in processes[name].stderr
            assert desk.file.read_bytes() == before[name]
            desk.file.write_bytes(live)  # as `fleet fetch` would show it; the own change is made anew, above
    assert len([name for name in json.loads(live)["servers"] if name.startswith("op")]) == 2


def at_once(desk: Desk) -> Done:
    """Publish, however it ends."""
    words = ["fleet", "publish", str(desk.file), "--store", desk.url, "--key", str(desk.keys.file("ops"))]
    return program.rolecall(words, {**os.environ, "NO_PROXY": "*", **desk.environment})


@pytest.mark.parametrize("times", [1, None])
def test_a_write_whose_answer_was_lost_counts_as_published(
    s3: Crossroads, tmp_path: Path, keys: Keys, times: int | None
) -> None:
    desk = in_s3(s3, tmp_path / "ops", keys)
    desk.publish()
    s3.fault("lost", key=KEY, method="PUT", times=times)
    assert "published serial 3, in place of serial 2" in desk.publish().stdout
    assert opened(s3.get(BUCKET, "prod/fleet.json"))[0] == desk.file.read_bytes()
    assert desk.data()["serial"] == 3


def test_a_write_that_is_refused_leaves_the_file_and_the_store_as_they_were(
    s3: Crossroads, tmp_path: Path, keys: Keys
) -> None:
    desk = in_s3(s3, tmp_path / "ops", keys)
    desk.publish()
    before = dict(s3.objects)
    s3.fault(403, key=KEY, method="PUT")
    error = desk.refused(ok=75)
    assert f"cannot write s3://{BUCKET}/prod/fleet.json" in error
    s3.heal()
    assert s3.objects == before
    assert "published serial 3" in desk.publish().stdout


def test_a_publication_says_who_may_have_writes_that_others_lack(desk: Desk) -> None:
    desk.publish()
    assert desk.data()["databases"]["blog"]["succession"] == {"epoch": 1, "since": 2}
    desk.publish()
    assert desk.data()["databases"]["blog"]["succession"] == {"epoch": 1, "since": 2}, "nothing has changed hands"
    blog = desk.data()["databases"]["blog"]
    desk.edit(databases={"blog": {**blog, "candidate": None, "replicas": ["db2", "db3"], "succession": None}})
    desk.publish()
    withdrawn = {"epoch": 1, "since": 4, "relieved": ["db2"]}
    assert desk.data()["databases"]["blog"]["succession"] == withdrawn, "whatever its author wrote"
    report = desk.live.parent / "reports/db1.json"
    report.parent.mkdir()
    report.write_text(json.dumps({"databases": {"blog": {"duty": "master", "epoch": 1, "opened": 1}}}))
    blog = desk.data()["databases"]["blog"]
    desk.edit(databases={"blog": {**blog, "epoch": 2, "master": "db2", "replicas": ["db1", "db3"]}})
    desk.publish()
    former = {**withdrawn, "master": "db1", "opened": True}
    assert desk.data()["databases"]["blog"]["succession"] == {"epoch": 2, "since": 5, "former": former}
    blog = desk.data()["databases"]["blog"]
    desk.edit(databases={"blog": {**blog, "epoch": 3, "master": "db3", "replicas": ["db1", "db2"]}})
    desk.publish()
    unseen = {"epoch": 3, "since": 6, "former": former, "between": ["db2"]}
    assert desk.data()["databases"]["blog"]["succession"] == unseen, "db2 has never reported that it was open"
