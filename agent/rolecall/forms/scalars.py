"""The scalar types of document, settings and roles: what may pass the door at all.

Every string that can reach a configuration file is one of these. Patterns are ASCII and matched whole (`fullmatch`):
`$`, `\\w` and `str.isdigit` let newlines or other alphabets through.
"""

import contextlib
import re
import unicodedata
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from rolecall.forms.system_accounts import why_reserved

# Bidirectional overrides make a line read differently from what it says ("Trojan Source", CVE-2021-42574).
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})

# The nicknames that both Debian's cron and cronie know; @reboot is left out: the agent decides what runs at boot.
SCHEDULE_NICKNAMES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")

# FastCGI parameters and PHP's own: a product's environment travels among them and must not stand in for them.
_RESERVED_ENVIRONMENT = re.compile(
    r"(?:ROLECALL|DATABASE|CACHE|HTTP|SERVER|REMOTE|REQUEST|SCRIPT|CONTEXT|FCGI)_.*"
    r"|PHP_VALUE|PHP_ADMIN_VALUE|PHP_SELF|DOCUMENT_ROOT|DOCUMENT_URI|QUERY_STRING|PATH_INFO|PATH_TRANSLATED"
    r"|CONTENT_TYPE|CONTENT_LENGTH|GATEWAY_INTERFACE|HTTPS|ORIG_.*|REDIRECT_.*|AUTH_TYPE"
    r"|PATH|HOME|SHELL|USER|LOGNAME|IFS|ENV|LD_.*"
    # What dash and bash set themselves, or do not let anybody set.
    r"|_|PPID|E?UID|OPTIND|LINENO|S?RANDOM|SECONDS|EPOCH(?:REALTIME|SECONDS)|FUNCNAME|GROUPS|DIRSTACK|HISTCMD"
    r"|PIPESTATUS|SHELLOPTS|SHLVL|BASH.*"
)


# Apache drops a variable of 16 KiB or more on its way to php-fpm, with no more than a line in its log.
MOST_BYTES = 8192


class Frozen(BaseModel):
    """A part of a document: immutable, unknown keys are errors, nothing is coerced into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def printable(text: str) -> str:
    """Refuse control characters, line breaks of any kind, lone surrogates and direction overrides."""
    for at, char in enumerate(text):
        if unicodedata.category(char) in _CONTROL or char in _BIDI:
            raise ValueError(f"contains the character U+{ord(char):04X} at position {at + 1}: remove it")
    return text


def _text(text: str) -> str:
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise ValueError(f"is longer than {MOST_BYTES} bytes, the most that all readers of the files can take")
    return printable(text)


def _matching(pattern: str, rule: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        printable(text)
        if not compiled.fullmatch(text):
            raise ValueError(f"{text!r} is not {rule}")
        return text

    return check


def _hostname(text: str) -> str:
    printable(text)
    if text != text.lower():
        raise ValueError(f"{text!r} is not a hostname: write it in lower case, {text.lower()!r}")
    if not text.isascii():
        raise ValueError(f"{text!r} is not a hostname: write it in its xn-- form (punycode)")
    label = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    if len(text) > 253 or not re.fullmatch(rf"{label}(?:\.{label})*", text) or re.fullmatch(r"(?:.*\.)?[0-9]+", text):
        raise ValueError(
            f"{text!r} is not a hostname: dot-separated labels of a-z, 0-9 and inner -, not ending in a number"
        )
    return text


def _address(text: str) -> str:
    import ipaddress

    # With a zone (fe80::1%eth0) it is one machine's own way to name it; and a zone may be any text.
    with contextlib.suppress(ValueError):
        if "%" not in text:
            return str(ipaddress.ip_address(text))
    raise ValueError(f"{text!r} is not an IP address: write one such as '10.0.0.11' or 'fd00::11'")


def _unreserved(pattern: Callable[[str], str], remedy: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if owner := why_reserved(pattern(text)):
            raise ValueError(f"{text!r} is {owner}: {remedy}")
        return text

    return check


def _environment_name(text: str) -> str:
    # Apache hands variables on to FastCGI in upper case, whatever they are called.
    _matching(r"[A-Z_][A-Z0-9_]{0,63}", "a variable name: A-Z, 0-9 and _, at most 64")(text)
    if _RESERVED_ENVIRONMENT.fullmatch(text):
        raise ValueError(f"{text!r} is set by the web server, PHP or the agent itself: choose another name")
    return text


def _schedule(text: str) -> str:
    printable(text)
    if text in SCHEDULE_NICKNAMES:
        return text
    if text.startswith("@"):
        raise ValueError(f"{text!r} is not a schedule name: one of {', '.join(SCHEDULE_NICKNAMES)}")
    if len(text.split(" ")) != 5 or not re.fullmatch(r"[0-9A-Za-z*/, -]+", text):
        raise ValueError(
            f"{text!r} is not a cron schedule: five fields with one space between them: minute hour day month weekday"
        )
    # cronsim also reads L, W and #, which cron does not know; of letters cron takes names of months and days only.
    for word in re.findall(r"[A-Za-z]+", text):
        if word.lower() not in _NAMES:
            raise ValueError(f"{text!r} is not a cron schedule: {word!r} is neither a month nor a weekday")
    # cron takes such a step and then runs once an hour or a day, which nobody means.
    for field, most in zip(text.split(" "), (59, 23, 31, 12, 7), strict=True):
        for step in re.findall(r"/([0-9]+)", field):
            if not 1 <= int(step) <= most:
                raise ValueError(f"{text!r} is not a possible schedule: the step /{step} is not between 1 and {most}")
    if re.search(r"(?:^|[ ,])[0-9A-Za-z]+/|[0-9]{3}", text):
        raise ValueError(
            f"{text!r} is not a cron schedule: a step follows * or a range, and no number has three digits"
        )
    return _possible(text)


_NAMES = frozenset("jan feb mar apr may jun jul aug sep oct nov dec sun mon tue wed thu fri sat".split())


def _possible(text: str) -> str:
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"{text!r} is not a possible schedule: {str(error) or 'it would never run'}") from None
    return text


def _certificate(text: str) -> str:
    import base64

    with contextlib.suppress(ValueError):
        der = base64.b64decode(text, validate=True)
        # A SEQUENCE, whose length stands in the two octets behind 0x82 (ITU-T X.690, 8.1.3.5).
        if der[:2] == b"\x30\x82" and int.from_bytes(der[2:4], "big") == len(der) - 4 and len(text) <= MOST_BYTES:
            return text
    raise ValueError("is not a certificate: DER in Base64, on one line, as `rolecall fleet certificates` writes it")


def _duration(value: object) -> object:
    """'90s', '20m', '1h' → seconds; numbers pass through, so that defaults can be numbers."""
    if not isinstance(value, str):
        return value
    duration = re.fullmatch(r"([0-9]{1,6})(ms|s|m|h|d)", value)
    if not duration:
        raise ValueError(f"{value!r} is not a duration: write one such as '90s', '20m' or '1h'")
    return int(duration[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[duration[2]]


def _parameter_value(value: object) -> object:
    """What a role may be told, before its role.toml is asked: a scalar or a list of texts, nothing that is nested."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
        return tuple(_text(text) for text in value)
    raise ValueError("must be text in quotes, a whole number, true or false, or a list of texts")


_PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._@+-]{1,255}"

Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, AfterValidator(_matching(r"[a-z][a-z0-9-]{0,39}", "a name: a-z, 0-9 and -, at most 40"))]
Hostname = Annotated[str, AfterValidator(_hostname)]
Address = Annotated[str, AfterValidator(_address)]
_account = _matching(
    r"[a-z_][a-z0-9_-]{0,30}", "an account name: a-z, 0-9, _ and -, at most 31, starting with a letter"
)
AccountName = Annotated[str, AfterValidator(_unreserved(_account, "give the product one of its own"))]
GroupName = Annotated[str, AfterValidator(_unreserved(_account, "name a group that only products are in"))]
EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
Certificate = Annotated[str, AfterValidator(_certificate)]
Schedule = Annotated[str, AfterValidator(_schedule)]
Duration = Annotated[float, BeforeValidator(_duration, json_schema_input_type=float | str), Field(ge=0)]
RelativePath = Annotated[
    str,
    AfterValidator(
        _matching(
            rf"(?=.{{1,1024}}$){_PART}(?:/{_PART})*",
            "a relative path: parts of letters, digits and . _ @ + -, without .., at most 1024",
        )
    ),
]
AbsolutePath = Annotated[
    str, AfterValidator(_matching(r"/[^\"\\${}%]*", 'an absolute path without any of " \\ $ { } %'))
]
UrlPath = Annotated[str, AfterValidator(_matching(r"/[!-~]{0,1023}", "a URL path: printable ASCII, starting with /"))]
Sha256 = Annotated[str, AfterValidator(_matching(r"[0-9a-f]{64}", "a SHA-256 digest: 64 digits of 0-9a-f"))]
Version = Annotated[
    str,
    AfterValidator(_matching(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", "a version: letters, digits and . _ + -")),
]
SecretReference = Annotated[
    str,
    AfterValidator(
        _matching(
            r"(?:file:/|ssm:/?|secretsmanager:)[A-Za-z0-9._@+/#:=-]{1,512}",
            "a secret's reference: 'file:/path', 'ssm:/name' or 'secretsmanager:name'",
        )
    ),
]
ParameterName = Annotated[
    str, AfterValidator(_matching(r"[a-z][a-z0-9_]{0,39}", "a parameter's name: a-z, 0-9 and _, at most 40"))
]
ParameterValue = Annotated[
    bool | int | str | tuple[str, ...],
    PlainValidator(_parameter_value, json_schema_input_type=bool | int | str | tuple[str, ...]),
]
Word = Annotated[str, AfterValidator(_matching(r"[A-Za-z0-9._:@+-]{1,128}", "a word: letters, digits and . _ : @ + -"))]
