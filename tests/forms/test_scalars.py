"""What may pass the door at all, and in which words the rest is refused."""

import unicodedata
from base64 import b64encode
from typing import Annotated, Any

import pytest
from hypothesis import given
from pydantic import TypeAdapter, ValidationError

from rolecall.forms import scalars
from rolecall.forms.scalars import MOST_BYTES, SCHEDULE_NICKNAMES, Frozen
from rolecall.forms.system_accounts import LOGIN_ACCOUNTS, SYSTEM_ACCOUNTS
from samples import ANY_TEXT, fuzz

LABEL = "a" * 63


def words(kind: Any, value: object) -> str:
    """Why a value is refused."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return str(caught.value)


def passes(kind: Any, value: object) -> object:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("Text", ["", "a b", "ä€😀", "\u200b", '"\\$%;#', "x" * MOST_BYTES],
         ["\n", "a\tb", "\0", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "x" * (MOST_BYTES + 1),
          "ä" * (MOST_BYTES // 2 + 1)]),
        ("Name", ["a", "web-1", "a" * 40], ["", "Web", "1a", "-a", "a_b", "a.b", "a" * 41, "ä", "a\n", "a/b"]),
        ("Hostname", ["localhost", "a.b", "web1", "x.k8s", "xn--mller-kva.example", "1.example", f"{LABEL}.org", "0x"],
         ["", ".", "a.", ".a", "a..b", "-a.b", "a-.b", "a_b.c", "A.b", "müller.example", "10.0.0.1", "a.1", "7",
          "*.b", "a b", "a.b\n", f"{LABEL}a.org", ".".join([LABEL] * 4), "http://a", "a:80", "a/b", "$a.b"]),
        ("Address", ["10.0.0.11", "fd00::11", "::1"],
         ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/24", "10.0.0.1\n", "fe80::1%eth0", 'fe80::1%\n"x',
          "[::1]", "web1", "\uff11\uff10.0.0.1"]),
        ("AccountName", ["blog", "_b", "a-b_1", "a" * 31],
         ["", "Blog", "1a", "-a", "a.b", "a$", "a b", "a" * 32, "a\n", "systemd-oom",
          *sorted(SYSTEM_ACCOUNTS | LOGIN_ACCOUNTS)]),
        ("GroupName", ["deploy", "_b"], ["", "Blog", "a.b", "a\n", "systemd-journal", "sudo", "wheel", "ec2-user"]),
        ("EnvironmentName", ["APP_ENV", "_X", "A", "A1", "DB_USER", "A" * 64],
         ["", "a", "App", "1A", "A-B", "A B", "A=B", "Ä", "A\n", "A" * 65, "PATH", "HTTP_PROXY", "LD_PRELOAD",
          "PHP_VALUE", "PHP_ADMIN_VALUE", "ROLECALL_CONFIG", "DATABASE_BLOG_MASTER", "CACHE_X_SERVERS", "IFS", "UID",
          "PPID", "_", "BASH_ENV", "SHELLOPTS", "OPTIND", "RANDOM", "SCRIPT_FILENAME", "DOCUMENT_ROOT", "REMOTE_USER"]),
        ("Schedule", ["* * * * *", "*/15 * * * *", "0 4 1-7 * mon", "5,10 0-23/2 29 feb *", "0 0 * JAN-mar Sun,6",
                      *SCHEDULE_NICKNAMES],
         ["", "*", "* * * *", "* * * * * *", "*  * * * *", " * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *",
          "* * 32 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "*/60 * * * *", "5-1 * * * *", "0 0 30 2 *",
          "0 0 31 4,6 *", "1/5 * * * *", "* * * feb/2 *", "* * L * *", "* * 1W * *", "* * * * mon#1", "jan * * * *",
          "@reboot", "@fortnightly", "* * * * *\n", "\u0663 * * * *", "1, * * * *", "001 * * * *", "A=b * * * *"]),
        ("RelativePath", ["a", "a/b.c/d", "a..b", "...", "@x+y-z", "a/" * 511 + "aa"],
         ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a b", "a\\b", "a\n", "ä", "a*", "~a", "$a",
          "a" * 256, "a/" * 512 + "a"]),
        ("AbsolutePath", ["/", "/var/lib/rolecall"], ["", "a", 'a"b', "/a\n", "/a$b", "/a%b", "/a{b", "/a\\b"]),
        ("UrlPath", ["/", "/a?b=c&d#e"], ["", "a", "http://a", "/a b", "/ä", "/a\n", "/" + "a" * 1024]),
        ("Sha256", ["0" * 64], ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "0" * 64 + "\n"]),
        ("Certificate", [certificate := b64encode(b"\x30\x82\x00\x01x").decode()],
         ["", "a", f"{certificate}\n", f"{certificate}{certificate}", b64encode(b"\x30\x82\x00\x02x").decode(),
          "QUJD"]),
        ("Version", ["1", "2026.11.21", "v1_a+b-c"], ["", ".1", "1 2", "1/2", "1" * 65, "1\n", '1"', "1${x}"]),
        ("SecretReference", ["file:/etc/x", "ssm:/a/b", "ssm:a", "secretsmanager:a:b"],
         ["", "x", "file:x", "env:X", "file:/", "file:/a b", "file:/a\n", "file:/a'", "file:/$x"]),
        ("Word", ["i-0aaa", "us-east-1a", "a:b@c+d.e_f"], ["", "a b", "a/b", "a\n", "ä", "a" * 129, "${a}"]),
    ],
)  # fmt: skip
def test_each_type_of_text_takes_what_it_is_for_and_nothing_else(kind: str, good: list[str], bad: list[str]) -> None:
    adapter = getattr(scalars, kind)
    assert [passes(adapter, value) for value in good] == good
    for value in bad:
        assert words(adapter, value), f"{value!r} has to be refused"


@fuzz(60)
@given(ANY_TEXT)
def test_text_is_refused_exactly_for_control_characters_line_breaks_surrogates_and_overrides(text: str) -> None:
    hidden = {"Cc", "Cs", "Zl", "Zp"}
    overrides = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    bad = [letter for letter in text if unicodedata.category(letter) in hidden or letter in overrides]
    if bad:
        assert f"U+{ord(bad[0]):04X} at position {text.index(bad[0]) + 1}" in words(scalars.Text, text)
    else:
        assert passes(scalars.Text, text) == text


def test_an_address_is_kept_in_one_spelling() -> None:
    assert passes(scalars.Address, "FD00:0:0::11") == "fd00::11"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("90s", 90), ("20m", 1200), ("1h", 3600), ("7d", 604800), ("0s", 0), (1.5, 1.5), (3, 3)],
)
def test_a_duration_is_a_number_of_seconds_or_has_its_unit(text: object, seconds: float) -> None:
    assert passes(scalars.Duration, text) == seconds


@pytest.mark.parametrize("bad", ["", "90", "s", "1 s", "-1s", "1.5s", "1w", "1234567s", "1s\n", "\u0661s", -1, -0.1])
def test_a_duration_is_nothing_else(bad: object) -> None:
    assert words(scalars.Duration, bad)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_number_is_infinite(number: float) -> None:
    class Part(Frozen):
        seconds: scalars.Duration

    assert "finite" in words(Part, {"seconds": number})


def test_a_part_of_a_document_cannot_be_changed_has_no_unknown_keys_and_coerces_nothing() -> None:
    class Part(Frozen):
        number: int
        text: Annotated[str, "any"] = ""

    part = Part(number=1)
    with pytest.raises(ValidationError, match="frozen"):
        part.number = 2  # type: ignore[misc]
    assert "extra" in words(Part, {"number": 1, "numberx": 2}).lower()
    for wrong in ("1", 1.0, True, None):
        assert words(Part, {"number": wrong})
