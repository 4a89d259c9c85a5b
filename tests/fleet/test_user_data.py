"""User-data is read in every form that people hand it over in; what was meant for us and is wrong has its place."""

import base64
import codecs
import gzip
import json
import zlib
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.fleet.identity import Identity
from rolecall.fleet.user_data import read_user_data
from rolecall.forms.stored import json_object, plain, typed
from rolecall.node.notes import BootIdentity
from samples import ANY_JSON, fuzz

SECTION = '{"rolecall": {"role": "web", "products": ["blog", "shop"]}}'
SCRIPT = "#!/bin/sh\necho '{\"rolecall\": 5}' > /etc/example.json\n"


def packed(data: bytes) -> bytes:
    """With gzip; the same bytes in each process of a test run, which takes them for the test's name."""
    return gzip.compress(data, mtime=0)


def mime(*texts: str, subtype: str = "plain") -> bytes:
    message = MIMEMultipart()
    for text in texts:
        message.attach(MIMEText(text, subtype, "utf-8"))
    return message.as_bytes()


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (SECTION.encode(), "user-data"),
        (f"\n{SECTION}\n".encode(), "user-data"),
        (codecs.BOM_UTF8 + SECTION.encode(), "user-data"),
        (SECTION.encode("utf-16"), "user-data"),
        (packed(SECTION.encode()), "user-data"),
        (mime(SCRIPT, SECTION), "user-data, part 2"),
        (packed(mime(SECTION, "#cloud-config\nmounts: []\n")), "user-data, part 1"),
        (b"From: me\r\n" + mime(SECTION).replace(b"\n", b"\r\n"), "user-data, part 1"),
    ],
    ids=["plain", "blank lines", "BOM", "UTF-16", "gzip", "MIME", "gzip of MIME", "MIME with CRLF"],
)
def test_the_section_is_read_in_every_form_that_people_hand_it_over_in(raw: bytes, place: str) -> None:
    user_data = read_user_data(raw)
    assert user_data.mistakes == []
    assert user_data.tags == {"rolecall:role": "web", "rolecall:products": "blog,shop"}
    line = 2 if raw.startswith(b"\n") else 1
    assert user_data.places["rolecall:products"] == f"{place} {line}:30: rolecall.products"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"#!/bin/sh\necho rolecall\n", SCRIPT.encode(),
        b"#cloud-config\nwrite_files:\n- content: |\n    rolecall: 5\n",
        b"<powershell>\nrolecall: 5\n</powershell>", b'{"other": {"role": "web"}}', b'{"recall": {"rate": 5}}', b"[]",
        b'"rolecall"', b"5", b"null", b'{"other": ', b'{"a": 1, "a": 2}',
        b'{"url": "https://rolecall.example.com", "a": 1}',
        b"[" * 16_000, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff packed", packed(bytes(9_000_000)),
        bytes(range(256)),
        "Ärger".encode("latin-1"), base64.b64encode(b"#!/bin/sh\n"), mime(SCRIPT, "#cloud-config\nmounts: []\n"),
        b"Content-Type: multipart/mixed; boundary=B\n\n--B\n",
    ],
)  # fmt: skip
def test_user_data_that_is_somebody_elses_is_left_alone(raw: bytes) -> None:
    user_data = read_user_data(raw)
    assert (user_data.tags, user_data.mistakes) == ({}, [])


UNKNOWN = "unknown key — did you mean 'products'?"
BASE64 = "is encoded in Base64 twice — hand it over as it is: EC2's tools encode it themselves"


@pytest.mark.parametrize(
    ("raw", "mistakes"),
    [
        (b'{"rolecall": {"product": ["blog"]}}', [f"1:15: rolecall.product: {UNKNOWN}"]),
        (b'{"rolecall":\n {"role": null, "products": "blog"}}', ["2:3: rolecall.role: must be text in quotes, not null",
                                                                '2:17: rolecall.products: must be a list, not "blog"']),
        (b'{"rolecall": {"products": ["blog", "", 5, null]}}', [
            "1:36: rolecall.products[1]: '' is not a name: a-z, 0-9 and -, at most 40",
            "1:40: rolecall.products[2]: must be text in quotes, not 5",
            "1:43: rolecall.products[3]: must be text in quotes, not null"]),
        (b'{"rolecall": {"role": "web", "role": "database"}}', ["1:30: rolecall.role: the key occurs twice"]),
        (b'{"rolecall": null}', ["1:2: rolecall: must be an object, not null"]),
        (b'{"rolecall": "web"}', ['1:2: rolecall: must be an object, not "web"']),
        (b'{"rolecall": ["web"]}', ['1:2: rolecall: must be an object, not ["web"]']),
        (b'{"rolecall": {}}', ["1:2: rolecall: says neither role nor products"]),
        (b'{"rolecall": {"role": "web",}}', ["1:29: not JSON"]),
        (b'{"rolecall": ', ["1:14: not JSON: Expecting value"]),
        (b"{'rolecall': {'role': 'web'}}", ["1:2: not JSON"]),
        (b'{"Rolecall": {"role": "web"}}', ["1:2: Rolecall: is none of ours — did you mean 'rolecall'?"]),
        (b'{"role-call": {"role": "web"}}', ["1:2: role-call: is none of ours — did you mean 'rolecall'?"]),
        (b'[{"rolecall": {"role": "web"}}]', ["is a list"]),
        (b"rolecall: {role: web}\n", ["has a key 'rolecall', but is not JSON"]),
        (b"#cloud-config\nrolecall: {role: web}\n", ["has a key 'rolecall', but is not JSON"]),
        (b'{"rolecall": {"role": "\xe4"}}', ["is not UTF-8 — save it as UTF-8"]),
        (base64.b64encode(SECTION.encode()), [BASE64]),
        (packed(b'{"rolecall": {"product": []}}'), [f"1:15: rolecall.product: {UNKNOWN}"]),
        (packed(b'{"rolecall": {}, "other": "' + b"x" * (1 << 20) + b'"}'), ["is more than 1048576 bytes"]),
        (mime(SCRIPT, '{"rolecall": {"product": []}}'), [f"part 2 1:15: rolecall.product: {UNKNOWN}"]),
        (mime(SECTION, SECTION), ["2 of its parts have a section 'rolecall' — keep one of them"]),
    ],
)  # fmt: skip
def test_what_was_meant_for_us_and_is_wrong_is_named_with_its_place(raw: bytes, mistakes: list[str]) -> None:
    user_data = read_user_data(raw)
    assert len(user_data.mistakes) == len(mistakes), user_data.mistakes
    for line, words in zip(user_data.mistakes, mistakes, strict=True):
        assert words in line
        assert line.startswith("user-data")


def test_however_much_is_wrong_a_report_can_bear_it() -> None:
    user_data = read_user_data(json.dumps({"rolecall": {"role": "x" * 9000, "products": [5] * 3000}}).encode())
    assert len(user_data.mistakes) == 21
    assert user_data.mistakes[-1] == "user-data: … and 2981 more mistakes"
    assert max(map(len, user_data.mistakes)) <= 400


@fuzz(60)
@given(
    st.one_of(
        st.binary(max_size=60),
        ANY_JSON.map(lambda data: json.dumps({"rolecall": data}).encode()),
        st.text(max_size=40).map(lambda text: ('{"rolecall": ' + text).encode("utf-8", "replace")),
        st.binary(max_size=40).map(lambda body: b'Content-Type: multipart/mixed; boundary="B"\n\n--B\n' + body),
        st.binary(max_size=40).map(lambda body: zlib.compress(body, wbits=31)[: len(body) + 9]),
    )
)
def test_any_user_data_is_an_answer_that_a_later_run_of_this_boot_can_read(raw: bytes) -> None:
    user_data = read_user_data(raw)
    identity = Identity(tags=user_data.tags, places=user_data.places, mistakes=tuple(user_data.mistakes))
    note = BootIdentity(identity, "boot")
    assert typed(BootIdentity, json_object(json.dumps(plain(note)))) == note
