"""How a value is written in each format, so that the format's own reader reads it back as it was, or it is refused.

Every function takes and returns text; a value that a format cannot express raises ValueError. The tests hand the
results to the real readers (Apache, php-fpm, sh, my_print_defaults, MariaDB, systemd-sysusers, systemd-tmpfiles).
"""

import re
import shlex
from collections.abc import Callable

from rolecall.forms.scalars import MOST_BYTES, printable


def apache(value: str) -> str:
    """An argument of an Apache directive, in double quotes.

    Apache expands ${NAME} everywhere and has no escape for it; the base configuration defines `rolecall_dollar` as a
    dollar sign, and what an expansion gives is not expanded again (ap_resolve_env in server/core.c).
    """
    if len(value.encode()) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES} bytes, and Apache may not pass it on")
    escaped = printable(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("${", "${rolecall_dollar}{") + '"'


def php_ini(value: str) -> str:
    """A value of php-fpm's ini files. Its reader knows no escape for quotes, so what would need one is refused."""
    if re.search(r"[\"\\$`]", printable(value)):
        raise ValueError(f"{value!r} cannot be written to a php-fpm file: it holds a quote, backslash, backtick or $")
    return f'"{value}"'


def shell(value: str) -> str:
    """A word of a POSIX shell script."""
    return shlex.quote(printable(value))


def my_cnf(value: str) -> str:
    """A value of a MySQL option file, in double quotes with its escapes."""
    escaped = printable(value).replace("\\", "\\\\").replace('"', '\\"')
    if len(escaped.encode()) > 4000:
        raise ValueError("it is too long: MySQL reads lines of an option file in pieces of 4096 bytes")
    return f'"{escaped}"'


def sql(value: str) -> str:
    """A string of SQL, for MySQL and MariaDB in their usual mode, in which a backslash escapes.

    In the mode NO_BACKSLASH_ESCAPES it stays one string, with its backslashes doubled: '' is a quote in both modes.
    """
    return "'" + printable(value).replace("\\", "\\\\").replace("'", "''") + "'"


def sql_user(value: str) -> str:
    """An account of a database server: '' is everybody's; spaces at the end and what is beyond U+FFFF get lost."""
    if not re.fullmatch(r"[^\U00010000-\U0010ffff]{0,31}[^ \U00010000-\U0010ffff]", value):
        raise ValueError(
            f"{value[:40]!r} cannot be an account of a database server: 1 to 32 characters, none beyond U+FFFF, and "
            "no space at the end"
        )
    return sql(value)


def sql_password(value: str) -> str:
    """The password of such an account: none at all lets everybody in, and nobody can follow with more than 96 bytes."""
    if not 1 <= len(value.encode("utf-8", "replace")) <= 96:
        raise ValueError("it cannot be a password of a database server: 1 to 96 bytes")
    return sql(value)


def sql_grant(value: str) -> str:
    """A schema in GRANT, with its backticks: there _ stands for any character, unless a backslash is before it."""
    return "`" + word(value).replace("_", "\\_") + "`"


def systemd(value: str) -> str:
    """A field of sysusers.d or tmpfiles.d: quoted, C escapes, and % doubled since it starts a specifier."""
    return '"' + printable(value).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def word(value: str) -> str:
    """A value for formats without any quoting (cron, munin, logrotate): plain words and paths only."""
    if not re.fullmatch(r"[A-Za-z0-9._:@+/-]+", value):
        raise ValueError(f"{value!r} cannot be written here: only letters, digits and . _ : @ + / - can")
    return value


def schedule(value: str) -> str:
    """A checked cron schedule, as it is: only the characters that a schedule can have pass."""
    if not re.fullmatch(r"@[a-z]+|[0-9A-Za-z*/, -]+", value):
        raise ValueError(f"{value!r} is not a cron schedule")
    return value


def pem(value: str) -> str:
    """A certificate, which the document has as DER in Base64, in lines as programs read it (RFC 7468)."""
    if not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", value):
        raise ValueError("it is not a certificate: DER in Base64")
    return "\n".join(["-----BEGIN CERTIFICATE-----", *re.findall(".{1,64}", value), "-----END CERTIFICATE-----"])


def read_back(form: str, text: str) -> str:
    """The value that is written so in a format. Raises ValueError where the text is not of it."""
    value = text[1:-1] if text[:1] in ('"', "'") else text
    match form:
        case "apache":
            value = _unescaped(value.replace("${rolecall_dollar}{", "${"))
        case "my_cnf":
            value = _unescaped(value)
        case "systemd":
            value = _unescaped(value).replace("%%", "%")
        case "sql" | "sql_user" | "sql_password":
            value = value.replace("''", "'").replace("\\\\", "\\")
        case "shell":
            value = "".join(shlex.split(text))
        case "pem":
            value = "".join(text.splitlines()[1:-1])
    if FORMATS[form](value) != text:
        raise ValueError(f"this is not the format {form}")
    return value


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


FORMATS: dict[str, Callable[[str], str]] = {
    "apache": apache,
    "php_ini": php_ini,
    "shell": shell,
    "my_cnf": my_cnf,
    "sql": sql,
    "sql_user": sql_user,
    "sql_password": sql_password,
    "sql_grant": sql_grant,
    "systemd": systemd,
    "word": word,
    "schedule": schedule,
    "pem": pem,
}
