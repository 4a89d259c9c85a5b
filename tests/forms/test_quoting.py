"""How values are written. What real readers make of it is in test_hostile_values.py; here, what is refused and why."""

import pytest
from hypothesis import example, given

from rolecall.forms.quoting import FORMATS, read_back
from rolecall.forms.scalars import MOST_BYTES
from samples import ANY_TEXT, fuzz


@pytest.mark.parametrize(
    ("form", "value", "written"),
    [
        ("apache", 'a"b\\c', '"a\\"b\\\\c"'),
        ("apache", "${HOME} $x", '"${rolecall_dollar}{HOME} $x"'),
        ("php_ini", "a;b#c", '"a;b#c"'),
        ("shell", "a", "a"),
        ("shell", "it's $x", "'it'\"'\"'s $x'"),
        ("shell", "", "''"),
        ("my_cnf", 'a"b\\c#d', '"a\\"b\\\\c#d"'),
        ("sql", 'it\'s \\ "x" `y`', "'it''s \\\\ \"x\" `y`'"),
        ("sql", "", "''"),
        ("sql_user", "o'brien", "'o''brien'"),
        ("sql_password", "\u20ac" * 32, "'" + "\u20ac" * 32 + "'"),
        ("sql_grant", "my_shop", "`my\\_shop`"),
        ("systemd", 'a"b\\c%d', '"a\\"b\\\\c%%d"'),
        ("word", "a.b_c:d@e+f/g-h", "a.b_c:d@e+f/g-h"),
        ("schedule", "*/15 0-5 * JAN 1,2", "*/15 0-5 * JAN 1,2"),
        ("schedule", "@daily", "@daily"),
        ("pem", "QUJD" * 17, f"-----BEGIN CERTIFICATE-----\n{'QUJD' * 16}\nQUJD\n-----END CERTIFICATE-----"),
    ],
)
def test_each_format_has_its_own_way_to_write_a_value(form: str, value: str, written: str) -> None:
    assert FORMATS[form](value) == written


HIDDEN = ("a\nb", "a\n", "\0", "\x1b", "\u2028", "\x85", "\u202e", "\ud800")


@pytest.mark.parametrize(
    ("form", "value"),
    [
        *((form, hidden) for form in FORMATS for hidden in HIDDEN),
        *(("php_ini", sign) for sign in '"\\$`'),
        *(("word", sign) for sign in ["", *"\"' \\$%#;*?~&|<>(){}[]!=,^`ä"]),
        *(("schedule", sign) for sign in ["", "%", "@Daily", "@", "A=b", "* * * * * $x"]),
        *(("sql_user", name) for name in ["", " ", "a ", "x" * 33, "\U00010000", "a\U0001f600"]),
        *(("sql_password", word) for word in ["", "x" * 97, "\u20ac" * 33]),
        *(("pem", text) for text in ["", "-", "QU JD", "QUJD\nQUJD", "QQ==="]),
        *(("sql_grant", sign) for sign in ["", *"`'\\%;ä"]),
        ("apache", "x" * (MOST_BYTES + 1)),
        ("apache", "ä" * (MOST_BYTES // 2 + 1)),
        ("my_cnf", "x" * 4001),
        ("my_cnf", '"' * 2001),
    ],
)  # fmt: skip
def test_what_a_format_cannot_express_is_refused(form: str, value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its words are the caller's
        FORMATS[form](value)


@fuzz(60)
@given(ANY_TEXT)
def test_no_format_writes_a_second_line_or_a_control_character(text: str) -> None:
    for name in FORMATS.keys() - {"pem"}:  # whose lines are its own, and which takes no other letters than Base64
        try:
            written = FORMATS[name](text)
        except ValueError:
            continue
        assert len(f"x{written}x".splitlines()) == 1
        assert not any(sign < " " or sign == "\x7f" for sign in written)


@pytest.mark.parametrize("form", ["apache", "php_ini", "shell", "my_cnf", "sql", "systemd", "word"])
@given(value=ANY_TEXT)
@example(value="a\"b\\c'd''e\\\\f%%g")
@example(value="${rolecall_dollar}{HOME} ${rolecall_dollar} ${")
@example(value="'")
@example(value="a.b")
@fuzz(60)
def test_what_was_written_is_read_back(form: str, value: str) -> None:
    try:
        written = FORMATS[form](value)
    except ValueError:
        return
    assert read_back(form, written) == value


def test_what_was_not_written_so_is_not_read_back() -> None:
    for form, text in (("apache", "a"), ("apache", '"a"b"'), ("shell", "a b"), ("shell", "'a"), ("sql", "'a'b'")):
        with pytest.raises(ValueError):  # noqa: PT011 - its words are nobody's
            read_back(form, text)
