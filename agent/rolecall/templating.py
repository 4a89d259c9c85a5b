"""Templates: Jinja in which every value has to be quoted for its format, and errors that name the template's line."""

from typing import Any

import jinja2
import jinja2.sandbox

from rolecall.assignment import Secret
from rolecall.generation import secret_token
from rolecall.quoting import FORMATS
from rolecall.role import Role

TROUBLE = (jinja2.TemplateError, ValueError, TypeError)


class Quoted(str):
    """Text that is written as its format wants it."""

    __slots__ = ()


def environment(role: Role, *, quoted: bool = True, foreign: bool = False) -> jinja2.Environment:
    """An environment with the role's templates.

    `quoted`: what it writes has to be quoted; not so for single values of role.toml. `foreign`: templates that come
    with a release, which may look at data and nothing else.
    """
    kind = jinja2.sandbox.ImmutableSandboxedEnvironment if foreign else jinja2.Environment

    def load(name: str) -> tuple[str, str, None] | None:
        return (role.templates[name], name, None) if name in role.templates else None

    made = kind(
        loader=jinja2.FunctionLoader(load),
        undefined=jinja2.StrictUndefined, finalize=_only_quoted if quoted else None,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    made.filters.update({form: _filter(form) for form in FORMATS})
    return made


def _filter(form: str) -> Any:
    def quote(value: object) -> Quoted:
        if isinstance(value, Secret):
            return Quoted(secret_token(value.key, form))
        if isinstance(value, jinja2.Undefined):
            str(value)  # raises with the name of what is missing
        return Quoted(FORMATS[form](str(value)))

    return quote


def _only_quoted(value: object) -> object:
    if isinstance(value, Quoted) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, jinja2.Undefined):
        return value
    raise ValueError(f"a value was written without quoting; pipe it through one of: {', '.join(FORMATS)}")


def line_of(error: BaseException) -> int | None:
    """The template's line: jinja2 puts frames that are named for the template into the traceback."""
    at, line = error.__traceback__, None
    while at:
        if not at.tb_frame.f_code.co_filename.endswith(".py"):
            line = at.tb_lineno
        at = at.tb_next
    return line
