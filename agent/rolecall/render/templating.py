"""Templates: Jinja in which every value has to be quoted for its format, and errors that name the template's line."""

from types import CodeType
from typing import Any, Protocol

import jinja2
import jinja2.sandbox

from rolecall.fleet.secrets import Secret
from rolecall.forms.quoting import FORMATS
from rolecall.forms.scalars import Frozen
from rolecall.render.generation import secret_token
from rolecall.render.role import Role

# Whatever a template can raise while it is rendered; those that come with a release may do their worst.
TEMPLATE_ERRORS = (
    jinja2.TemplateError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
)


class Quoted(str):
    """Text that is written as its format wants it."""

    __slots__ = ()


MOST_CODES = 5000
_CODES: dict[tuple[object, ...], CodeType] = {}


class RoleEnvironment(jinja2.Environment):
    """Compiles a text once, for however many products and servers it is rendered.

    Nine tenths of a rendering are the compiler's work. Its code depends on the text, on the name that stands in
    messages and on the kind of the environment, never on the role or the values.
    """

    def compile(self, source: Any, name: str | None = None, filename: str | None = None, *options: Any) -> Any:
        """The code of a template, as jinja2's method of this name."""
        key = (type(self), self.finalize, source, name, filename, *options)
        if not isinstance(source, str):  # a tree of nodes, from `compile_expression`
            return super().compile(source, name, filename, *options)
        if key not in _CODES:
            if len(_CODES) >= MOST_CODES:  # a process that lives long sees the templates of many releases
                _CODES.clear()
            _CODES[key] = super().compile(source, name, filename, *options)
        return _CODES[key]


class ReleaseEnvironment(RoleEnvironment, jinja2.sandbox.ImmutableSandboxedEnvironment):
    """For the templates of releases: of our models they see the fields, none of pydantic's methods.

    `BaseModel.parse_raw`, for one, unpickles what it is given.
    """

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may look at it."""
        if isinstance(obj, Frozen):
            return attr in type(obj).model_fields
        return super().is_safe_attribute(obj, attr, value)


class Environments(Protocol):
    """What makes environments, as `environment` does."""

    def __call__(self, role: Role, *, quoted: bool = True, foreign: bool = False) -> jinja2.Environment:
        """An environment with the role's templates."""


def environment(
    role: Role, *, quoted: bool = True, foreign: bool = False, kind: type[RoleEnvironment] | None = None
) -> jinja2.Environment:
    """An environment with the role's templates.

    `quoted`: what it writes has to be quoted; not so for single values of role.toml. `foreign`: templates that come
    with a release, which may look at data and nothing else. `kind`: another class than usual.
    """
    kind = kind or (ReleaseEnvironment if foreign else RoleEnvironment)

    def load(name: str) -> tuple[str, str, None] | None:
        return (role.templates[name], name, None) if name in role.templates else None

    templates = kind(
        loader=jinja2.FunctionLoader(load),
        undefined=jinja2.StrictUndefined,
        finalize=_only_quoted if quoted else None,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    templates.filters.update({form: _filter(form) for form in FORMATS})
    return templates


def _filter(form: str) -> Any:
    def quote(value: object) -> Quoted:
        if isinstance(value, Secret):
            return Quoted(secret_token(value.key, form))
        if isinstance(value, jinja2.Undefined):
            str(value)  # raises with the name of what is missing
        if value is None or isinstance(value, bool | list | tuple | dict | set):
            raise ValueError(f"{type(value).__name__} cannot be written as text")
        return Quoted(FORMATS[form](str(value)))

    return quote


def _only_quoted(value: object) -> object:
    if isinstance(value, Quoted) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, jinja2.Undefined):
        return value
    raise ValueError(f"a value was written without quoting; pipe it through one of: {', '.join(FORMATS)}")


def place_of(error: BaseException, source: str) -> str:
    """`template:line`: jinja2 puts frames that are named for the template into the traceback."""
    name, line, frame = source, 0, error.__traceback__
    if isinstance(error, jinja2.TemplateSyntaxError):
        name, line = error.name or source, error.lineno
    while frame:
        file = frame.tb_frame.f_code.co_filename
        if not file.endswith(".py"):
            name, line = source if file.startswith("<") else file, frame.tb_lineno
        frame = frame.tb_next
    return f"{name}:{line}" if line else name
