"""Who may speak for the fleet: what others put into a store changes nothing, and raises no bar for what comes after."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import rolecall
from box import ROLECALL, Box
from rolecall.errors import ConfigFault
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import MAX_BYTES
from rolecall.report import Report
from rolecall.trust import selection, verification
from rolecall.trust.envelope import unseal
from servers.mirror import Mirror
from servers.tls import Authority
from signed import FOR_FLEETS, NAMESPACE, Keys, Member, envelope, from_now, stamp

GREATEST = 2**63
EAST = timezone(timedelta(hours=9))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def member(tmp_path: Path, keys: Keys) -> Member:
    """A node that believes `ops` and has seen nothing yet."""
    return Member(tmp_path / "member", keys)


# What an attacker has, and what becomes of it


@dataclass(frozen=True)
class Scene:
    """A node that goes by serial 42, and what its attackers have: what `ops` has ever signed, and their own keys."""

    member: Member
    keys: Keys
    older: bytes  # the envelope of serial 41
    now: bytes  # that of serial 42
    payload: bytes  # serial 43, and
    signature: str  # its signature: together they would be good, so one change at a time can be tried

    @property
    def good(self) -> bytes:
        return envelope(self.payload, self.signature)

    def by(self, name: str, payload: bytes | None = None, namespace: str = NAMESPACE) -> bytes:
        """The payload with the signature of another key, or for another purpose."""
        payload = self.payload if payload is None else payload
        return envelope(payload, self.keys.sign(name, payload, namespace))

    def with_signature(self, signature: object) -> bytes:
        return envelope(self.payload, signature)

    def over(self, payload: bytes) -> bytes:
        """The good signature, over another payload."""
        return envelope(payload, self.signature)

    def tampered(self, old: str, new: str) -> bytes:
        """The payload changed below its signature."""
        return self.over(replaced(self.payload.decode(), old, new).encode())

    def ops(self, serial: object = 43, **parts: Any) -> bytes:
        """Another document that `ops` really signs: to be refused for what it says."""
        return self.by("ops", self.member.payload(serial, "evil", **parts))

    def text(self, old: str, new: str) -> bytes:
        """A document that `ops` really signs, with a piece of its text replaced."""
        return self.by("ops", replaced(self.payload.decode(), old, new).encode())

    def raw(self, old: str = "", new: str = "") -> bytes:
        """The envelope's text with a piece replaced; in it PAYLOAD and SIGNATURE stand for the two as JSON strings."""
        text = replaced('{"rolecall": "signed document", "payload": PAYLOAD, "signature": SIGNATURE}', old, new)
        for word, value in {"PAYLOAD": self.payload.decode(), "SIGNATURE": self.signature}.items():
            text = text.replace(word, json.dumps(value))
        return text.encode()

    def refused(self, raw: bytes, cause: str, words: str) -> None:
        """A run ends with 78, for this cause; the node is as before, to the time of each file's change."""
        member, before = self.member, self.member.picture()
        member.put(raw)
        report = member.run()
        assert (report.outcome, report.exit_code, report.cause) == ("refused", 78, cause), report.error
        assert words in report.error
        assert (member.picture(), member.zone) == (before, "a")
        told = json.loads((member.store / "reports/web1.json").read_text())
        assert (told["outcome"], told["cause"], told["error"]) == ("refused", cause, report.error)

    def judged(self, raw: bytes) -> ConfigFault:
        """The fault alone, without a run: for attacks by the dozen."""
        self.member.put(raw)
        with pytest.raises(ConfigFault) as caught:
            selection.select_document(self.member.node(), Identity(server="web1"), Report("refresh"), 0)
        return caught.value

    def honest(self) -> None:
        """The next honest document is taken: nothing of what was refused has been remembered."""
        self.member.publish(43, "b")
        report = self.member.run()
        assert (report.outcome, report.serial, self.member.zone) == ("ready", 43, "b"), report.error


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Scene:
    """A node that has seen the serials 41 and 42 of `ops`; it believes `two` as well, and nobody else."""
    member = Member(tmp_path_factory.mktemp("booted"), keys)
    member.allow("ops", "two")
    older = member.publish(41, "old")
    assert member.run("boot").outcome == "ready"
    now = member.publish(42, "a")
    assert member.run().outcome == "ready"
    shutil.copytree(member.state, member.root / "saved", symlinks=True)
    payload = member.payload(43, "evil")
    return Scene(member, keys, older, now, payload, keys.sign("ops", payload))


@pytest.fixture
def scene(booted: Scene) -> Iterator[Scene]:
    """The same, as it was."""
    yield booted
    member = booted.member
    shutil.rmtree(member.state)
    shutil.rmtree(member.root / "run")
    shutil.copytree(member.root / "saved", member.state, symlinks=True)


Make = Callable[[Scene], bytes]
DEEP = "[" * 100_000 + "]" * 100_000

SIGNATURES_THAT_ARE_REFUSED: dict[str, Make] = {
    "a key that nobody allows": lambda s: s.by("eve"),
    "a key for another purpose": lambda s: s.by("ops", namespace="git"),
    "a purpose that begins alike": lambda s: s.by("ops", namespace=f"{NAMESPACE}s"),
    "the start of the purpose": lambda s: s.by("ops", namespace=NAMESPACE[:-1]),
    "the purpose in capitals": lambda s: s.by("ops", namespace=NAMESPACE.upper()),
    "a signature over other bytes": lambda s: s.with_signature(s.keys.sign("ops", b"hello")),
    "a signature over nothing": lambda s: s.with_signature(s.keys.sign("ops", b"")),
    "a signature over the payload as the envelope writes it": lambda s: s.with_signature(
        s.keys.sign("ops", json.dumps(s.payload.decode()).encode())
    ),
    "the signature of an older document": lambda s: s.with_signature(json.loads(s.older)["signature"]),
    "the signature of the document before": lambda s: s.with_signature(json.loads(s.now)["signature"]),
    "a signature of blanks": lambda s: s.with_signature(" \n"),
    "a signature that is words": lambda s: s.with_signature("signed, ops"),
    "a signature without its frame": lambda s: s.with_signature("".join(s.signature.splitlines()[1:-1])),
    "a frame without a signature": lambda s: s.with_signature("\n".join(s.signature.splitlines()[:: len(
        s.signature.splitlines()) - 1])),
    "a frame without its end": lambda s: s.with_signature("\n".join(s.signature.splitlines()[:-1])),
    "the frame of a PGP signature": lambda s: s.with_signature(s.signature.replace("SSH", "PGP")),
    "a signature with the line ends of Windows": lambda s: s.with_signature(s.signature.replace("\n", "\r\n")),
    "a foreign signature before the good one": lambda s: s.with_signature(s.keys.sign("eve", s.payload) + s.signature),
    "words before the signature": lambda s: s.with_signature(f"by ops\n{s.signature}"),
    "NUL within the signature": lambda s: s.with_signature(s.signature.replace("\n", "\0\n", 1)),
    "a signature of a megabyte": lambda s: s.with_signature(s.signature.replace("\n", "\n" + "A" * 2**20, 1)),
    "the payload of an older document": lambda s: s.over(json.loads(s.older)["payload"].encode()),
    "another hostname": lambda s: s.tampered("blog.example.com", "blog.example.org"),
    "another digest of a release": lambda s: s.tampered("0" * 64, "0" * 63 + "1"),
    "another serial": lambda s: s.tampered('"serial": 43', '"serial": 44'),
    "another end of its validity": lambda s: s.tampered(json.loads(s.payload)["not_after"], "2099-01-01T00:00:00Z"),
    "a blank more": lambda s: s.tampered('"serial": 43', '"serial":  43'),
    "a line's end more": lambda s: s.over(s.payload + b"\n"),
    "the payload on one line": lambda s: s.over(json.dumps(json.loads(s.payload)).encode()),
    "a payload with the line ends of Windows": lambda s: s.over(s.payload.replace(b"\n", b"\r\n")),
    "a letter of the payload written as an escape": lambda s: s.tampered("blog.example", r"\u0062log.example"),
    "a byte order mark before the payload": lambda s: s.over(b"\xef\xbb\xbf" + s.payload),
    "NUL behind the payload": lambda s: s.over(s.payload + b"\0"),
    "no payload": lambda s: s.over(b""),
    "an envelope in an envelope, with the signature of the inner one": lambda s: s.over(s.good),
}  # fmt: skip

WITHOUT_A_SIGNATURE: dict[str, Make] = {
    "an empty signature": lambda s: s.with_signature(""),
    "the payload alone": lambda s: s.payload,
    "a document with a signature among its keys": lambda s: json.dumps(
        {**json.loads(s.payload), "signature": s.signature}
    ).encode(),
    "an envelope without its kind": lambda s: s.raw('"rolecall": "signed document", ', ""),
    "an envelope of another kind": lambda s: s.raw("signed document", "Signed Document"),
    "an envelope in an envelope, and no second signature": lambda s: envelope(s.good, ""),
    "an envelope in a list": lambda s: b"[" + s.good + b"]",
    "an envelope whose name is written as an escape": lambda s: s.raw('"rolecall"', r'"\u0072olecall"'),
    "an envelope in UTF-16": lambda s: s.good.decode().encode("utf-16"),
    "a list as deep as a well": lambda _: DEEP.encode(),
    "an empty file": lambda _: b"",
    "an empty object": lambda _: b"{}",
    "null": lambda _: b"null",
    "the page of a proxy": lambda _: b"<html>Please log in</html>",
}

NO_JSON: dict[str, Make] = {
    "the payload twice, the good one first": lambda s: s.raw("PAYLOAD", 'PAYLOAD, "payload": "{}"'),
    "the payload twice, the good one last": lambda s: s.raw("PAYLOAD", '"{}", "payload": PAYLOAD'),
    "the payload twice, once as an escape": lambda s: s.raw("PAYLOAD", r'PAYLOAD, "p\u0061yload": "{}"'),
    "the signature twice": lambda s: s.raw("SIGNATURE", 'SIGNATURE, "signature": ""'),
    "the kind twice": lambda s: s.raw("{", '{"rolecall": "x", '),
    "two envelopes": lambda s: s.now + b"\n" + s.good,
    "words behind the envelope": lambda s: s.good + b" and so on",
    "a byte order mark before the envelope": lambda s: b"\xef\xbb\xbf" + s.good,
    "NUL behind the envelope": lambda s: s.good + b"\0",
    "NUL before the envelope": lambda s: b"\0" + s.good,
    "a comment in the envelope": lambda s: s.good.replace(b"{", b"{ // fine\n", 1),
    "a number of 5,000 digits in the envelope": lambda s: s.raw('"payload"', f'"n": {"9" * 5000}, "payload"'),
    "a list as deep as a well in the envelope": lambda s: s.raw('"payload"', f'"n": {DEEP}, "payload"'),
}

BROKEN_ENVELOPES: dict[str, tuple[str, Make]] = {
    "no signature in it": ("nothing else", lambda s: s.raw(', "signature": SIGNATURE', "")),
    "no payload in it": ("nothing else", lambda s: s.raw(', "payload": PAYLOAD', "")),
    "a signature that is null": ("nothing else", lambda s: s.with_signature(None)),
    "a signature that is true": ("nothing else", lambda s: s.with_signature(True)),
    "a list of signatures": ("nothing else", lambda s: s.with_signature([s.signature])),
    "a payload that is no text": ("nothing else", lambda s: s.raw("PAYLOAD", s.payload.decode())),
    "a further key": ("nothing else", lambda s: envelope(s.payload, s.signature, trusted=True)),
    "a further payload, in capitals": ("nothing else", lambda s: envelope(s.payload, s.signature, PAYLOAD="{}")),
    "half a character in the payload": ("the envelope of", lambda s: s.raw("PAYLOAD", r'"\ud800"')),
    "half a character in the signature": ("the envelope of", lambda s: s.raw("SIGNATURE", r'"\ud800"')),
    "a signature in other letters": ("signature", lambda s: s.with_signature(s.signature.replace("A", "\u0391"))),
    "bytes that are no UTF-8": ("not UTF-8", lambda s: s.good.replace(b"blog", b"bl\xf6g", 1)),
}

SIGNED_MISTAKES: dict[str, tuple[str, Make]] = {
    "an envelope in an envelope, signed": ("rolecall: unknown key", lambda s: s.by("ops", s.good)),
    "a serial in quotes": ("serial: must be a whole number", lambda s: s.ops("43")),
    "a serial that is true": ("serial: must be a whole number", lambda s: s.ops(True)),
    "a serial that is null": ("serial: must be a whole number", lambda s: s.ops(None)),
    "a serial with a point": ("serial: must be a whole number", lambda s: s.ops(43.0)),
    "a serial with an exponent": ("serial: must be a whole number", lambda s: s.text('"serial": 43', '"serial": 43e3')),
    "a serial that is a list": ("serial: must be a whole number", lambda s: s.ops([43])),
    "a serial that is no number": ("NaN", lambda s: s.ops(float("nan"))),
    "a serial of 5,000 digits": ("Exceeds the limit", lambda s: s.text('"serial": 43', f'"serial": {"9" * 5000}')),
    "a serial below zero": ("serial: ", lambda s: s.ops(-43)),
    "the serial 0": ("serial: ", lambda s: s.ops(0)),
    "no serial": ("serial: missing", lambda s: s.text('"serial": 43,', "")),
    "two serials, the greater one last": ("serial: the key occurs tw", lambda s: s.text("43,", '43, "serial": 99,')),
    "two serials, the greater one first": (
        "serial: the key occurs twice", lambda s: s.text('"serial": 43,', '"serial": 99, "serial": 43,')),
    "two ends of its validity": (
        "not_after: the key occurs twice",
        lambda s: s.text('"not_after"', '"not_after": "2099-01-01T00:00:00Z", "not_after"')),
    "no end of its validity": ("not_after: missing", lambda s: s.text('"not_after"', '"not_before"')),
    "an end of its validity without a zone": ("not_after: must be", lambda s: s.ops(not_after="2099-01-01T00:00:00")),
    "an end of its validity that is a number": ("not_after: ", lambda s: s.ops(not_after=4102444800)),
    "no name of the fleet": ("fleet: missing", lambda s: s.text('"fleet": "test",', "")),
    "another format": ("format: is 2", lambda s: s.ops(format=2)),
    "half a character in a name": ("not JSON", lambda s: s.text("10.0.0.12", r"\ud800")),
    "NUL in a name": ("U+0000", lambda s: s.text('"zone": "evil"', r'"zone": "evil\u0000"')),
    "a list as deep as a well, signed": ("nested too deeply", lambda s: s.text('"caches": {}', f'"caches": {DEEP}')),
    "more bytes than are read": (f"at most {MAX_BYTES} are read", lambda s: s.by("ops", s.payload + b" " * MAX_BYTES)),
    "an unknown key, and the greatest serial": ("databses: unknown key", lambda s: s.ops(GREATEST, databses={})),
    "a product that is not there, and the greatest serial": (
        "there is no product 'shop'", lambda s: s.ops(GREATEST, servers={"web1": server(products=["shop"])})),
    "no place for this server, and the greatest serial": (
        "no server of the document matches this machine", lambda s: s.ops(GREATEST, servers={"web9": server()})),
    "another role for this server, and the greatest serial": (
        "this machine's image is for 'bare'", lambda s: s.ops(GREATEST, servers={"web1": server(role="other")})),
}  # fmt: skip

OLD: dict[str, tuple[str, Make]] = {
    "an older document again": ("has serial 41, but 42 was seen before", lambda s: s.older),
    "an older serial with other content": ("has serial 41, but 42 was seen before", lambda s: s.ops(41)),
    "the same serial with other content": ("was changed, but its serial is still 42", lambda s: s.ops(42)),
    "an older serial of another key that is believed": (
        "has serial 41, but 42 was seen before", lambda s: s.by("two", s.member.payload(41, "evil"))),
    "the same serial of another key, with other content": (
        "was changed, but its serial is still 42", lambda s: s.by("two", s.member.payload(42, "evil"))),
}  # fmt: skip

OF_ANOTHER_FLEET: dict[str, Make] = {
    "another fleet's document, by the same key": lambda s: s.ops(fleet="staging"),
    "another fleet's document with the greatest serial": lambda s: s.ops(GREATEST, fleet="staging"),
    "another fleet's document with an older serial": lambda s: s.ops(1, fleet="staging"),
    "another fleet's document that has expired": lambda s: s.ops(fleet="staging", not_after=stamp(from_now(hours=-1))),
}

EXPIRED: dict[str, Make] = {
    "a document that has expired": lambda s: s.ops(not_after=stamp(from_now(hours=-1))),
    "a document that has just expired, with the greatest serial": lambda s: s.ops(
        GREATEST, not_after=stamp(from_now(seconds=-1))
    ),
    "a document that has expired, in another zone of time": lambda s: s.ops(
        not_after=from_now(hours=-1).astimezone(EAST).isoformat()
    ),
    "a document from 1970": lambda s: s.ops(not_after="1970-01-01T00:00:00Z"),
    "a document from before all calendars": lambda s: s.ops(not_after="0001-01-01T00:00:00+05:00"),
}


def server(**parts: Any) -> dict[str, Any]:
    return {"role": "bare", "address": "10.0.0.11", "zone": "evil", "products": [], **parts}


def attacks() -> Iterator[Any]:
    for name, make in SIGNATURES_THAT_ARE_REFUSED.items():
        yield pytest.param(make, "signature", "the signature is refused", id=name)
    for name, make in WITHOUT_A_SIGNATURE.items():
        yield pytest.param(make, "signature", "is not signed", id=name)
    for name, make in OF_ANOTHER_FLEET.items():
        words = "is the document of the fleet 'staging'; this node is of 'test'"
        yield pytest.param(make, "other-fleet", words, id=name)
    for name, make in EXPIRED.items():
        yield pytest.param(make, "expired", "expired on", id=name)
    for name, make in NO_JSON.items():
        yield pytest.param(make, "signature", "store/fleet.json", id=name)
    for cause, group in (("signature", BROKEN_ENVELOPES), ("", SIGNED_MISTAKES), ("old-serial", OLD)):
        for name, (words, make) in group.items():
            yield pytest.param(make, cause, words, id=name)


@pytest.mark.parametrize(("made", "cause", "words"), [*attacks()])
def test_what_is_refused_changes_nothing_and_the_next_honest_document_is_taken(
    scene: Scene, made: Make, cause: str, words: str
) -> None:
    scene.refused(made(scene), cause, words)
    scene.honest()


def test_without_any_change_the_document_of_these_attacks_would_be_taken(scene: Scene) -> None:
    scene.member.put(scene.good)
    report = scene.member.run()
    assert (report.outcome, report.serial, report.signer) == ("ready", 43, "ops@example.com")
    assert scene.member.zone == "evil"


def test_a_document_in_which_all_is_wrong_is_judged_in_the_order_that_is_documented(scene: Scene) -> None:
    wrong: dict[str, Any] = {"serial": 41, "fleet": "staging", "not_after": stamp(from_now(hours=-1)), "databses": {}}

    def cause(by: str, payload: bytes) -> str:
        return scene.judged(scene.keys.seal(by, payload)).cause

    assert cause("eve", b"{" * 3) == "signature"
    assert cause("ops", b"{" * 3) == ""
    assert cause("ops", scene.member.payload(**wrong)) == "other-fleet"
    assert cause("ops", scene.member.payload(**wrong | {"fleet": "test"})) == "old-serial"
    assert cause("ops", scene.member.payload(**wrong | {"fleet": "test", "serial": 43})) == "expired"
    del wrong["not_after"]
    rest = scene.judged(scene.ops(**wrong | {"fleet": "test", "serial": 43}))
    assert (rest.cause, "databses: unknown key" in rest.message) == ("", True)
    scene.honest()


def test_an_envelope_that_was_cut_anywhere_is_refused(scene: Scene) -> None:
    before, size = scene.member.picture(), len(scene.good)
    for end in {*range(0, size, 97), *range(size - 9, size), *range(9), scene.good.index(b"signature")}:
        scene.judged(scene.good[:end])
    assert scene.member.picture() == before
    scene.honest()


def test_one_other_character_anywhere_in_the_payload_is_refused(scene: Scene) -> None:
    text = scene.payload.decode()
    for at in range(0, len(text), 41):
        fault = scene.judged(scene.over((text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]).encode()))
        assert fault.cause == "signature"
    scene.honest()


def test_one_other_character_anywhere_in_the_signature_is_refused(scene: Scene) -> None:
    for at in range(0, len(scene.signature) - 1, 11):
        old = scene.signature[at]
        fault = scene.judged(scene.with_signature(scene.signature[:at] + "AB"[old == "A"] + scene.signature[at + 1 :]))
        assert (fault.cause, "the signature is refused" in fault.message) == ("signature", True), at
    scene.honest()


def test_a_signature_that_no_pipe_would_hold_is_refused(scene: Scene) -> None:
    fault = scene.judged(scene.with_signature(scene.signature + "A" * 1_000_000))
    assert fault.cause == "signature"
    assert fault.message.endswith("the signature is refused: it is too long")
    scene.honest()


def test_what_follows_the_end_of_a_signature_makes_no_other_document(scene: Scene) -> None:
    note = scene.member.state / "fleet/verified.json"
    payload, signature = (json.loads(scene.now)[key] for key in ("payload", "signature"))
    before = json.loads(note.read_text())
    for more in ("junk\n", "\0", scene.keys.sign("eve", scene.payload), scene.signature):
        scene.member.put(envelope(payload.encode(), signature + more))
        assert scene.member.run().outcome == "unchanged"
        after = json.loads(note.read_text())
        assert [after[key] for key in ("serials", "sha256")] == [before[key] for key in ("serials", "sha256")]
        assert scene.member.zone == "a"
    scene.honest()


def test_an_object_larger_than_anything_that_is_read_is_not_read_and_the_last_document_goes_on(scene: Scene) -> None:
    before = scene.member.picture()
    scene.member.put(scene.good + b" " * 2 * MAX_BYTES)
    report = scene.member.run()
    assert (report.exit_code, report.outcome, report.cause, report.serial) == (0, "unchanged", "too-large", 42)
    assert "going on with serial 42" in report.degraded
    assert (scene.member.picture(), scene.member.zone) == (before, "a")
    scene.honest()


def test_of_an_envelope_with_a_hundred_thousand_mistakes_the_report_stays_short(scene: Scene) -> None:
    scene.member.put(scene.raw('"payload"', '"x": 0, ' * 100_000 + '"payload"'))
    report = scene.member.run()
    assert report.exit_code == 78
    assert len(report.error) < 100_000


NEW: dict[str, tuple[str, Callable[[Member], bytes]]] = {
    "another key": ("signature", lambda m: m.publish(1, by="eve")),
    "no signature": ("signature", lambda m: m.payload(1)),
    "a changed payload": ("signature", lambda m: m.publish(1).replace(b"10.0.0.11", b"10.0.0.66")),
    "half an envelope": ("signature", lambda m: m.publish(1)[:-100]),
    "another fleet": ("other-fleet", lambda m: m.publish(1, fleet="staging")),
    "an end that has passed": ("expired", lambda m: m.publish(1, not_after=stamp(from_now(hours=-1)))),
}


@pytest.mark.parametrize("attack", NEW)
def test_a_new_node_becomes_nothing_by_a_document_that_is_refused(member: Member, attack: str) -> None:
    cause, made = NEW[attack]
    member.settle(trust=f'signers = "{member.signers}"\nfleet = "test"')
    member.put(made(member))
    report = member.run("boot")
    assert (report.outcome, report.exit_code, report.cause) == ("refused", 78, cause), report.error
    assert [name for name in ("current", "ready", "generations", "fleet") if (member.state / name).exists()] == []
    member.publish(1)
    assert member.run("boot").outcome == "ready"


def test_a_document_larger_than_anything_that_is_read_leaves_a_new_node_waiting(member: Member) -> None:
    member.put(b" " * (2 * MAX_BYTES + 1))
    report = member.run("boot")
    assert (report.exit_code, report.cause) == (75, "too-large")
    assert not (member.state / "current").exists()


# Keys

GIT = 'namespaces="git"'


def until(days: int) -> str:
    """Options of allowed_signers: for fleets, and not after so many days from now."""
    return f'{FOR_FLEETS},valid-before="{from_now(days=days):%Y%m%d}"'


def since(days: int) -> str:
    """And not before that."""
    return f'{FOR_FLEETS},valid-after="{from_now(days=days):%Y%m%d}"'


@pytest.mark.parametrize("name", ["rsa-zoe", "ecdsa-zoe", "zoe"])
def test_every_kind_of_key_that_openssh_makes_may_sign(member: Member, name: str) -> None:
    member.allow(name)
    member.publish(7, by=name)
    report = member.run("boot")
    assert (report.outcome, report.signer) == ("ready", f"{name}@example.com")
    assert list(member.serials.values()) == [7]


ALLOWED: dict[str, Callable[[Keys], str]] = {
    "any name": lambda k: k.line("ops", principal="*"),
    "any name of a domain": lambda k: k.line("ops", principal="*@example.com"),
    "two names": lambda k: k.line("ops", principal="ops@example.com,pager@example.com"),
    "all but one name": lambda k: k.line("ops", principal="!eve@example.com,*"),
    "a name with a blank": lambda k: k.line("ops", principal='"the operators"'),
    "any purpose": lambda k: k.line("ops", options=""),
    "purposes by a pattern": lambda k: k.line("ops", options='namespaces="git,rolecall-*"'),
    "a time that goes on": lambda k: k.line("ops", until(9)),
    "a time that has begun": lambda k: k.line("ops", since(-9)),
    "remarks and empty lines": lambda k: f"# operators\n\n  # all of them\n{k.line('ops')} ops, on the laptop\n\n",
    "line ends of Windows": lambda k: f"{k.line('two')}\r\n{k.line('ops')}\r\n",
    "tabs": lambda k: k.line("ops").replace(" ", "\t"),
    "a line for each purpose": lambda k: "\n".join((k.line("ops", GIT), k.line("ops"))),
    "a second line after the time of the first": lambda k: "\n".join((
        k.line("ops", until(-9)), k.line("ops", since(-9)))),
}  # fmt: skip

NOT_ALLOWED: dict[str, tuple[str, Callable[[Keys], str]]] = {
    "another key": ("the signature is refused", lambda k: k.line("two")),
    "a time that is over": (
        "key has expired", lambda k: k.line("ops", until(-9))),
    "a time that has not begun": (
        "key is not yet valid", lambda k: k.line("ops", since(9))),
    "another purpose": ("not permitted for use in", lambda k: k.line("ops", GIT)),
    "a purpose that begins alike": (
        "not permitted for use in", lambda k: k.line("ops", options='namespaces="rolecall-fleets"')),
    "an authority of certificates": (
        "no authorities: serials are kept by key", lambda k: k.line("ops", options=f"cert-authority,{FOR_FLEETS}")),
    "an authority beside the key": (
        "no authorities: serials are kept by key",
        lambda k: f"{k.line('ops')}\n{k.line('eve', options='cert-authority')}"),
    "no name": ("the signature is refused", lambda k: k.public("ops")),
    "no key": ("has no key of its own", lambda _: f"ops@example.com {FOR_FLEETS}"),
    "a key that is cut": ("allowed_signers", lambda k: k.line("ops")[:-1]),
    "a key that is no base64": ("allowed_signers", lambda k: f"{k.line('ops')}\nold@example.com ssh-ed25519 AAAAB"),
    "words": ("has no key of its own", lambda k: f"{k.line('ops')}\nask the operators"),
    "nothing": ("the signature is refused", lambda _: ""),
    "remarks only": ("the signature is refused", lambda k: f"# {k.line('ops')}\n"),
}  # fmt: skip


@pytest.mark.parametrize("line", ALLOWED)
def test_a_key_is_believed_by_a_line_of_allowed_signers(member: Member, line: str) -> None:
    member.signers.write_text(ALLOWED[line](member.keys))
    member.publish(1)
    report = member.run("boot")
    assert (report.outcome, bool(report.signer)) == ("ready", True), report.error


@pytest.mark.parametrize("line", NOT_ALLOWED)
def test_a_key_is_not_believed_by_a_line_that_does_not_allow_it(member: Member, line: str) -> None:
    words, made = NOT_ALLOWED[line]
    member.signers.write_text(made(member.keys))
    member.publish(1)
    report = member.run("boot")
    assert (report.outcome, report.exit_code, report.cause) == ("refused", 78, "signature")
    assert words in f"{report.error} {report.hint}"
    assert not (member.state / "fleet").exists()


@pytest.mark.parametrize("time", ["20261399", "20260230", "202613", "soon", ""])
@pytest.mark.parametrize("whose", ["two", "ops"])
def test_a_time_that_is_none_in_allowed_signers_ends_in_words(member: Member, time: str, whose: str) -> None:
    wrong = member.keys.line(whose, f'{FOR_FLEETS},valid-before="{time}"')
    member.signers.write_text("\n".join([wrong, *([member.keys.line("ops")] if whose != "ops" else [])]))
    member.publish(1)
    report = member.run("boot")
    assert (report.outcome, report.cause) in (("ready", ""), ("refused", "signature")), report.error
    assert whose != "ops" or report.outcome == "refused"


@pytest.mark.parametrize("what", ["missing", "a folder", "not UTF-8"])
def test_allowed_signers_that_cannot_be_read_let_nobody_in_and_are_named(member: Member, what: str) -> None:
    member.publish(1)
    member.signers.unlink()
    if what == "a folder":
        member.signers.mkdir()
    elif what == "not UTF-8":
        member.signers.write_bytes(b"\xff\xfe" + member.keys.line("ops").encode())
    report = member.run("boot")
    assert (report.outcome, report.exit_code, report.cause) == ("refused", 78, "signature")
    assert f"cannot read the keys in {member.signers}" in report.error


def test_a_revoked_key_is_refused_and_the_others_go_on(member: Member) -> None:
    member.allow("ops", "two")
    member.revoke("ops")
    member.publish(1)
    report = member.run("boot")
    assert (report.exit_code, report.cause, "revoked" in report.error) == (78, "signature", True)
    member.publish(1, by="two")
    assert member.run("boot").outcome == "ready"


def test_an_empty_list_of_revoked_keys_revokes_none(member: Member) -> None:
    member.revoke()
    member.publish(1)
    assert member.run("boot").outcome == "ready"


@pytest.mark.parametrize("what", ["missing", "a folder", "words"])
def test_revoked_keys_that_cannot_be_read_let_nobody_in_and_are_named(member: Member, what: str) -> None:
    member.revoke("eve")
    member.publish(1)
    if what == "words":
        member.revoked.write_text("the old key\n")
    else:
        member.revoked.unlink()
    if what == "a folder":
        member.revoked.mkdir()
    report = member.run("boot")
    assert (report.outcome, report.exit_code, report.cause) == ("refused", 78, "signature")
    assert str(member.revoked) in report.error, "else it reads as if somebody had forged the document"


def test_keys_change_hands_while_both_are_allowed(member: Member) -> None:
    member.publish(41)
    assert member.run("boot").outcome == "ready"
    member.allow("ops", "new")
    member.publish(42, "b")
    assert (member.run().signer, member.zone) == ("ops@example.com", "b")
    member.publish(43, "c", by="new")
    assert (member.run().signer, member.zone) == ("new@example.com", "c")
    member.publish(44, "d")
    assert (member.run().signer, member.zone) == ("ops@example.com", "d"), "until it is taken out"
    member.publish(45, "e", by="new")
    assert (member.run().signer, member.zone) == ("new@example.com", "e")
    member.allow("new")
    assert member.run().outcome == "unchanged"
    before = member.picture()
    member.publish(46, "f")
    assert (member.run().cause, member.picture()) == ("signature", before)
    member.publish(44, "g", by="new")
    assert (member.run().cause, member.picture()) == ("old-serial", before)
    member.publish(46, "h", by="new")
    assert (member.run().outcome, member.zone) == ("ready", "h")


def test_the_same_document_signed_anew_by_another_key_raises_that_keys_bar_too(member: Member) -> None:
    member.allow("ops", "new")
    raw = member.publish(42)
    assert member.run("boot").outcome == "ready"
    payload = json.loads(raw)["payload"].encode()
    member.put(member.keys.seal("new", payload))
    assert member.run().outcome == "unchanged"
    assert list(member.serials.values()) == [42, 42]
    member.allow("new")
    member.publish(41, by="new")
    assert member.run().cause == "old-serial"


ENDS: dict[str, Callable[[Member], None]] = {
    "revoked": lambda m: m.revoke("leaked"),
    "taken out": lambda m: m.allow("ops"),
    "at the end of its time": lambda m: void(m.signers.write_text("\n".join((
        m.keys.line("ops"), m.keys.line("leaked", until(-1)))))),
}  # fmt: skip


def void(_: object) -> None:
    """A lambda that returns nothing."""


@pytest.mark.parametrize("end", ENDS)
def test_the_greatest_serial_of_a_leaked_key_does_not_outlive_the_key(member: Member, end: str) -> None:
    member.allow("ops", "leaked")
    older = member.publish(41, "old")
    member.run("boot")
    member.publish(42, "a")
    member.run()
    member.publish(GREATEST, "evil", by="leaked")
    assert (member.run().outcome, member.zone) == ("ready", "evil"), "it is believed like any other"
    member.publish(43, "b")
    refused = member.run()
    assert (refused.cause, f"but {GREATEST} was seen before" in refused.error) == ("old-serial", True)
    ENDS[end](member)
    assert (member.run().outcome, member.zone) == ("ready", "b")
    before = member.picture()
    member.put(older)
    assert (member.run().cause, member.picture()) == ("old-serial", before), "an old one stays old"
    member.publish(GREATEST + 1, "evil", by="leaked")
    assert (member.run().cause, member.picture()) == ("signature", before)


def test_what_a_key_signed_is_not_gone_on_with_once_the_key_is_revoked(member: Member) -> None:
    member.allow("ops", "leaked")
    member.publish(42, by="leaked")
    assert member.run("boot").outcome == "ready"
    member.revoke("leaked")
    (member.store / "fleet.json").unlink()
    before = member.picture()
    report = member.run()
    assert (report.exit_code, report.cause, "revoked" in report.error) == (75, "no-key", True)
    assert (member.picture(), member.zone) == (before, "a"), "it serves what it has"


# Images that differ in whom they believe


def test_an_image_with_signers_does_not_go_on_with_what_it_read_unsigned(member: Member) -> None:
    member.settle(trust="unsigned = true")
    member.put(member.payload(42))
    report = member.run("boot")
    assert (report.outcome, report.signer) == ("ready", "")
    assert any("trusts whoever can write to its store" in words for words in report.warnings)
    member.settle()
    before = member.picture()
    assert (member.run().cause, member.picture()) == ("signature", before)
    (member.store / "fleet.json").unlink()
    assert (member.run().exit_code, member.picture()) == (75, before)
    member.publish(43, "b")
    assert (member.run().outcome, member.zone) == ("ready", "b")


def test_an_image_without_signers_reads_envelopes_by_anybody_and_says_so(member: Member) -> None:
    member.settle(trust="unsigned = true")
    member.publish(42, by="eve")
    report = member.run("boot")
    assert (report.outcome, report.signer) == ("ready", "")
    assert any("trusts whoever can write to its store" in words for words in report.warnings)


def test_a_seed_in_the_image_must_be_signed_too(member: Member) -> None:
    seed = member.root / "seed.json"
    settings = member.config.read_text()
    member.config.write_text(settings.replace("[paths]", f'[paths]\nseed = "{seed}"'))
    seed.write_bytes(member.payload(42))
    report = member.run("boot")
    assert (report.exit_code, "seed.json is not signed" in report.error) == (75, True)
    seed.write_bytes(member.keys.seal("ops", member.payload(42)))
    report = member.run("boot")
    assert (report.outcome, "seed used" in report.degraded) == ("ready", True)
    assert not (member.state / "fleet").exists(), "a seed is nothing to remember"


# Clocks: the latest time that the machine, the image or the store tells


def judge(member: Member, raw: bytes, date: datetime | None, command: str = "refresh") -> Report:
    """One document's verdict, with the time that its store has told."""
    opened, report = unseal(raw, "the document"), Report(command)
    document = verification.Document(raw, "the document", opened.payload, opened.signature, date=date)
    verification.verify(member.node(), document, report)
    return report


def test_a_clock_that_stands_still_does_not_hide_that_a_document_has_expired(member: Member) -> None:
    raw = member.publish(1, not_after=stamp(from_now(days=1)))
    judge(member, raw, None)
    judge(member, raw, from_now(hours=23))
    judge(member, raw, datetime(1970, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfigFault, match="expired on") as caught:
        judge(member, raw, from_now(hours=25))
    assert caught.value.cause == "expired"


def test_nor_that_a_key_has(member: Member) -> None:
    member.signers.write_text(member.keys.line("ops", until(2)))
    raw = member.publish(1)
    judge(member, raw, None)
    with pytest.raises(ConfigFault, match="key has expired") as caught:
        judge(member, raw, from_now(days=3))
    assert caught.value.cause == "signature"


def test_a_clock_that_is_ahead_is_named_with_the_document_that_it_calls_expired(member: Member) -> None:
    raw = member.publish(1, not_after=stamp(from_now(hours=-1)))
    with pytest.raises(ConfigFault, match="this machine's clock is 2 h ahead of the store's"):
        judge(member, raw, from_now(hours=-2))


def test_a_running_node_keeps_what_has_expired_but_takes_no_other_that_has(member: Member) -> None:
    raw = member.publish(42, not_after=stamp(from_now(days=1)))
    assert member.run("boot").outcome == "ready"
    assert "it is kept, but publish it again" in judge(member, raw, from_now(days=2)).warnings[0]
    other = member.keys.seal("ops", member.payload(43, not_after=stamp(from_now(days=1))))
    with pytest.raises(ConfigFault, match="expired on"):
        judge(member, other, from_now(days=2))


def test_the_time_at_which_a_document_has_expired_is_told_in_the_zone_that_it_names(member: Member) -> None:
    raw = member.publish(1, not_after="2020-01-01T03:00:00+05:00")
    with pytest.raises(ConfigFault, match=r"expired on (2019-12-31 22:00 UTC|2020-01-01 03:00 .*05:00)"):
        judge(member, raw, None)


def test_the_date_of_a_stores_answer_counts(member: Member) -> None:
    authority = Authority(member.root)
    with Mirror({"fleet.json": member.publish(42)}, authority.context()) as mirror:
        more = f'[network]\nca = "{authority.file}"'
        member.settle(f"https://localhost:{mirror.port}", more=more)
        mirror.clock = lambda: datetime.now(UTC) + timedelta(days=8)
        report = member.run("boot")
        assert (report.outcome, report.exit_code, report.cause) == ("refused", 78, "expired"), report.error
        member.settle(f"https://localhost:{mirror.port}", f"file://{member.store}", more=more)
        report = member.run("boot")
        assert (report.outcome, report.source) == ("ready", f"file://{member.store}/fleet.json"), "not the other's"


def test_the_time_at_which_the_image_was_built_counts(member: Member) -> None:
    agent = member.root / "image"
    shutil.copytree(Path(rolecall.__file__).parent, agent / "rolecall", ignore=shutil.ignore_patterns("__pycache__"))
    member.publish(1, not_after=stamp(from_now(days=1)))

    def boot(built: datetime) -> subprocess.CompletedProcess[str]:
        os.utime(agent / "rolecall/__init__.py", (built.timestamp(), built.timestamp()))
        env = {**os.environ, "PYTHONPATH": str(agent)}
        argv = [*ROLECALL, "boot", "--config", str(member.config)]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)

    late = boot(from_now(days=2))
    assert (late.returncode, "expired on" in late.stderr) == (78, True), late.stderr
    assert boot(from_now(days=-2)).returncode == 0


# Several stores


@pytest.fixture
def two_stores(member: Member) -> Member:
    """A node that has taken serial 42 from the first of its two stores."""
    member.settle(f"file://{member.store}", f"file://{member.second}")
    for folder in (member.store, member.second):
        member.publish(42, "a", folder=folder)
    assert member.run("boot").source == f"file://{member.store}/fleet.json"
    return member


PASSED_OVER: dict[str, tuple[str, Callable[[Member], object]]] = {
    "a changed payload": ("the signature is refused", lambda m: m.put(
        m.publish(43, "evil").replace(b"10.0.0.12", b"10.0.0.66"))),
    "another key": ("the signature is refused", lambda m: m.publish(43, "evil", by="eve")),
    "no signature": ("is not signed", lambda m: m.put(m.payload(43, "evil"))),
    "a stale mirror": ("has serial 41, but 42 was seen before", lambda m: m.publish(41, "old")),
    "another fleet": ("this node is of 'test'", lambda m: m.publish(43, "evil", fleet="staging")),
    "half a file": ("store/fleet.json", lambda m: m.put(m.publish(43)[:-10])),
    "too large a file": ("larger than", lambda m: m.put(b" " * (2 * MAX_BYTES + 1))),
    "no file": ("No such file", lambda m: (m.store / "fleet.json").unlink()),
}  # fmt: skip


@pytest.mark.parametrize("first", PASSED_OVER)
def test_a_store_whose_document_is_refused_is_passed_over_and_said(two_stores: Member, first: str) -> None:
    words, put = PASSED_OVER[first]
    put(two_stores)
    two_stores.publish(43, "b", folder=two_stores.second)
    report = two_stores.run()
    assert (report.outcome, report.exit_code, report.serial) == ("ready", 0, 43), report.error
    assert report.source == f"file://{two_stores.second}/fleet.json"
    assert (report.degraded, two_stores.zone) == ("", "b")
    assert [words in one and one.startswith("passed over: ") for one in report.warnings] == [True]


def test_where_every_stores_document_is_refused_the_first_ones_fault_is_the_outcome(two_stores: Member) -> None:
    before = two_stores.picture()
    two_stores.publish(41, "old")
    two_stores.publish(43, "evil", by="eve", folder=two_stores.second)
    report = two_stores.run()
    assert (report.outcome, report.exit_code, report.cause) == ("refused", 78, "old-serial")
    assert (two_stores.picture(), two_stores.zone) == (before, "a")


def test_with_one_store_out_and_the_other_stale_the_last_document_goes_on_with_its_age(two_stores: Member) -> None:
    note = two_stores.state / "fleet/verified.json"
    known = json.loads(note.read_text())
    note.write_text(json.dumps({**known, "fetched": from_now(hours=-3).isoformat()}))
    before = two_stores.picture()
    (two_stores.store / "fleet.json").unlink()
    two_stores.publish(41, "old", folder=two_stores.second)
    report = two_stores.run()
    assert (report.outcome, report.exit_code, report.serial, report.cause) == ("unchanged", 0, 42, "no-key")
    assert "going on with serial 42" in report.degraded
    assert "3 h ago" in report.degraded
    assert any("has serial 41, but 42 was seen before" in one for one in report.warnings)
    assert (two_stores.picture(), two_stores.zone) == (before, "a")


# State belongs to one instance, and one role


def be(member: Member, instance: str) -> None:
    member.identity.write_text(json.dumps({"server": "web1", "instance": instance}))


def test_the_state_of_another_instance_is_set_aside_at_boot_and_nothing_of_it_is_used(member: Member) -> None:
    be(member, "i-1")
    member.publish(42, "a")
    assert member.run("boot").outcome == "ready"
    left = {path.name for path in (member.state / "generations").iterdir()}
    be(member, "i-2")
    member.publish(5, "b")
    report = member.reboot()
    assert (report.outcome, report.serial, member.zone) == ("ready", 5, "b"), report.error
    aside = member.state / "aside/from-i-1"
    assert any(f"the state of another instance, i-1, was found and set aside in {aside}" in one
               for one in report.warnings)  # fmt: skip
    assert json.loads((aside / "fleet/verified.json").read_text())["serial"] == 42
    assert {path.name for path in (aside / "generations").iterdir()} == left
    assert (aside / "current/zone").read_text() == "a\n"
    assert list(member.serials.values()) == [5]
    now = {path.name for path in (member.state / "generations").iterdir()}
    assert report.current not in left
    assert now & left <= {one for one in left if not (aside / "generations" / one / "zone").exists()}
    assert member.run().outcome == "unchanged"


def test_the_document_of_another_instance_is_not_gone_on_with(member: Member) -> None:
    be(member, "i-1")
    member.publish(42, "a")
    assert member.run("boot").outcome == "ready"
    be(member, "i-2")
    (member.store / "fleet.json").unlink()
    report = member.reboot()
    assert (report.exit_code, report.cause) == (75, "no-key")
    assert not (member.state / "aside").exists(), "no document has had a place for it yet"


def test_a_copied_disk_does_not_report_in_the_name_of_the_machine_that_it_was_copied_from(member: Member) -> None:
    be(member, "i-1")
    member.publish(42, "a")
    assert member.run("boot").server == "web1"
    told = (member.store / "reports/web1.json").read_bytes()
    member.identity.write_text('{"instance": "i-2"}')
    member.publish(43, "evil", by="eve")
    report = member.reboot()
    assert (report.outcome, report.server) == ("refused", "")
    assert (member.store / "reports/web1.json").read_bytes() == told


def test_the_same_instance_keeps_its_state_over_a_reboot(member: Member) -> None:
    be(member, "i-1")
    member.publish(42, "a")
    member.run("boot")
    (member.store / "fleet.json").unlink()
    report = member.reboot()
    assert (report.outcome, "going on with serial 42" in report.degraded) == ("unchanged", True)
    member.publish(41, "old")
    assert member.reboot().cause == "old-serial"
    assert not (member.state / "aside").exists()


def test_the_document_of_another_role_is_not_gone_on_with_and_its_serial_stays_the_bar(member: Member) -> None:
    member.publish(42, "a")
    member.run("boot")
    member.settle(role="other")
    (member.store / "fleet.json").unlink()
    assert member.reboot().exit_code == 75
    member.publish(41, servers={"web1": server(role="other")})
    assert member.reboot().cause == "old-serial"
    member.publish(43, servers={"web1": server(role="other")})
    assert member.reboot().outcome == "ready"


def test_a_document_that_is_verified_again_for_an_instance_is_gone_on_with_by_that_instance(member: Member) -> None:
    member.publish(42, "a")
    assert member.run("boot").outcome == "ready"
    be(member, "i-1")  # as after an update of the image that brings a further source of identity
    assert member.reboot().outcome == "unchanged"
    (member.store / "fleet.json").unlink()
    report = member.reboot()
    assert (report.outcome, report.exit_code) == ("unchanged", 0), report.error


# The most important of these, by the real program, with a real Apache


class Signed:
    """A Box whose image believes one key."""

    def __init__(self, box: Box, keys: Keys) -> None:
        self.box, self.keys, self.signers = box, keys, box.machine.root / "etc/rolecall/allowed_signers"
        self.trust = f'signers = "{self.signers}"'
        box.machine.config.write_text(box.machine.config.read_text().replace("unsigned = true", self.trust))
        self.allow("ops")
        box.product("blog", runtime="static")

    def allow(self, *names: str) -> None:
        self.signers.write_text("".join(f"{self.keys.line(name)}\n" for name in names))

    def seal(self, by: str = "ops", **parts: Any) -> bytes:
        self.box.document["serial"] += 1
        return self.keys.seal(by, json.dumps({**self.box.document, **parts}).encode())

    def publish(self, by: str = "ops", **parts: Any) -> bytes:
        raw = self.seal(by, **parts)
        self.box.publish(raw, raise_serial=False)
        return raw

    def page(self) -> str:
        status, _, text = self.box.get("blog.example.com")
        assert status == 200
        return text.split()[0]

    def refused(self, raw: bytes, cause: str) -> None:
        """By the real program: 78, the cause in its answer, and the page as it was."""
        before, page = picture_of(self.box), self.page()
        self.box.publish(raw, raise_serial=False)
        report = self.box.json("refresh", ok=78)
        assert (report["outcome"], report["exit_code"], report["cause"]) == ("refused", 78, cause)
        assert (picture_of(self.box), self.page()) == (before, page)


def picture_of(box: Box) -> object:
    """What a refused document must not touch."""
    state = box.state
    generations = sorted((path.name, path.stat().st_mtime_ns) for path in (state / "generations").rglob("*"))
    note = state / "fleet/verified.json"
    return (state / "current").readlink(), (state / "ready").readlink(), note.read_bytes(), generations


@pytest.fixture
def fleet(box: Box, keys: Keys) -> Signed:
    return Signed(box, keys)


def test_a_node_serves_what_was_signed_and_goes_on_serving_it_whatever_else_is_in_the_store(fleet: Signed) -> None:
    box = fleet.box
    older = fleet.publish()
    assert "ready: generation" in box.boot().stdout
    box.product("blog", "2", runtime="static")
    good = fleet.publish()
    assert box.json("refresh", ok=True)["signer"] == "ops@example.com"
    assert fleet.page() == "release=2"
    box.product("blog", "3", runtime="static")
    fleet.refused(fleet.seal(by="eve"), "signature")
    fleet.refused(good.replace(b"blog.example.com", b"blog.example.org"), "signature")
    fleet.refused(json.loads(fleet.seal())["payload"].encode(), "signature")
    fleet.refused(envelope(json.loads(fleet.seal())["payload"].encode(), json.loads(good)["signature"]), "signature")
    fleet.refused(fleet.seal(fleet="staging"), "other-fleet")
    fleet.refused(fleet.seal(serial=GREATEST, not_after=stamp(from_now(hours=-1))), "expired")
    fleet.refused(fleet.seal(serial=GREATEST, databses={}), "")
    fleet.refused(older, "old-serial")
    assert "serial 3 of test" in box.rolecall("status", ok=1).stdout
    fleet.publish()
    assert "ready" in box.rolecall("refresh").stdout
    assert fleet.page() == "release=3"


def test_a_new_machine_becomes_nothing_by_a_forged_document_and_says_why(fleet: Signed) -> None:
    box = fleet.box
    fleet.publish(by="eve")
    done = box.boot(ok=78)
    assert "the signature is refused" in done.stderr
    assert "cause: signature" in done.stderr
    assert (box.pids(), (box.state / "current").exists()) == ([], False)
    assert "the signature is refused" in box.rolecall("doctor", ok=1).stdout
    fleet.publish()
    assert "ready" in box.rolecall("boot").stdout


def test_a_leaked_key_ends_with_its_revocation_and_so_does_its_serial(fleet: Signed) -> None:
    box, revoked = fleet.box, fleet.box.machine.root / "etc/rolecall/revoked"
    fleet.allow("ops", "leaked")
    fleet.publish()
    box.boot()
    box.product("blog", "evil", runtime="static")
    fleet.publish(by="leaked", serial=GREATEST)
    box.rolecall("refresh")
    assert fleet.page() == "release=evil"
    box.product("blog", "2", runtime="static")
    fleet.refused(fleet.seal(), "old-serial")
    revoked.write_text(fleet.keys.public("leaked") + "\n")
    box.machine.config.write_text(
        box.machine.config.read_text().replace(fleet.trust, f'{fleet.trust}\nrevoked = "{revoked}"')
    )
    assert "ready" in box.rolecall("refresh").stdout
    assert fleet.page() == "release=2"
    fleet.refused(fleet.seal(by="leaked", serial=GREATEST + 1), "signature")


@pytest.mark.parametrize("list_of_keys", ["allowed_signers", "revoked"])
def test_a_key_that_is_no_longer_believed_is_noticed_by_the_next_refresh(fleet: Signed, list_of_keys: str) -> None:
    box, revoked = fleet.box, fleet.box.machine.root / "etc/rolecall/revoked"
    revoked.touch()
    box.machine.config.write_text(
        box.machine.config.read_text().replace(fleet.trust, f'{fleet.trust}\nrevoked = "{revoked}"')
    )
    fleet.publish()
    box.boot()
    assert box.rolecall("refresh").stdout == "", "nothing has moved"
    if list_of_keys == "revoked":
        revoked.write_text(fleet.keys.public("ops") + "\n")
    else:
        fleet.allow("two")
    assert "the signature is refused" in box.rolecall("refresh", ok=78).stderr
    assert fleet.page() == "release=1"


def test_a_mirror_with_a_changed_document_is_passed_over_for_one_with_a_good_one(fleet: Signed) -> None:
    box, mirror = fleet.box, fleet.box.machine.root / "srv/mirror"
    mirror.mkdir()
    config = box.machine.config
    config.write_text(config.read_text().replace('store = ["', f'store = ["file://{mirror}", "'))
    good = fleet.publish()
    (mirror / "fleet.json").write_bytes(good.replace(b"blog.example.com", b"blog.example.org"))
    assert f"passed over: file://{mirror}/fleet.json: the signature is refused" in box.boot().stderr
    assert box.json("status", ok=True)["source"] == f"file://{box.machine.store}/fleet.json"
    assert fleet.page() == "release=1"


def test_a_copied_disk_starts_anew_with_its_own_document_and_daemons(fleet: Signed) -> None:
    box = fleet.box
    identity = box.machine.root / "etc/rolecall/identity.json"
    identity.write_text(json.dumps({"server": "web1", "instance": "i-1"}))
    box.document["serial"] = 41
    fleet.publish()
    box.boot()
    old = (box.state / "current").readlink().name
    box.stop()
    shutil.rmtree(box.machine.run)
    identity.write_text(json.dumps({"server": "web1", "instance": "i-2"}))
    box.product("blog", "2", runtime="static")
    fleet.publish(serial=5)
    report = box.json("boot", ok=True)
    aside = box.state / "aside/from-i-1"
    assert (report["outcome"], report["serial"]) == ("ready", 5)
    assert any(f"set aside in {aside}" in one for one in report["warnings"])
    assert (aside / "generations" / old / "generation.json").is_file()
    assert not (box.state / "generations" / old).exists()
    assert fleet.page() == "release=2"
