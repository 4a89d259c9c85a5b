"""Templates that are watched while they are rendered: which line writes what, and which values it reads for that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame

from rolecall.fleet.secrets import Secret
from rolecall.forms.quoting import FORMATS
from rolecall.render.origins import Origin, Reads, Sourced
from rolecall.render.role import Role
from rolecall.render.templating import Quoted, ReleaseEnvironment, RoleEnvironment, environment


@dataclass(frozen=True)
class Piece:
    """What a template writes at once. `fixed`: its own text, which may have several lines."""

    text: str
    line: int
    fixed: bool
    origins: tuple[Origin, ...]


class _LineGenerator(CodeGenerator):
    """Compiles a template so that it tells of each piece of text, before that is written, and of each name it reads."""

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        for child in node.nodes:
            if frame.buffer is None:  # else it is a part of a larger piece, such as what a macro returns
                self.writeline(f"environment.begin({child.lineno}, {isinstance(child, nodes.TemplateData)})", child)
            super().visit_Output(nodes.Output([child], lineno=child.lineno), frame)

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:  # noqa: N802
        if node.ctx != "load":
            super().visit_Name(node, frame)
            return
        self.write("environment.read(")
        super().visit_Name(node, frame)
        self.write(")")


class _Template(jinja2.Template):
    """Keeps the pieces that it was written in."""

    def render(self, *args: Any, **variables: Any) -> str:
        environment: Any = self.environment
        environment.reads.of_template = {}
        environment.pieces.clear()
        for text in self.generate(*args, **variables):
            keys = tuple(environment.reads.of_expression)
            environment.pieces.append(Piece(text, environment.line, environment.fixed, keys))
        return "".join(piece.text for piece in environment.pieces)


class _Tracing(RoleEnvironment):
    """Notes what is read, and where in a template that is."""

    code_generator_class = _LineGenerator
    template_class = _Template
    reads: Reads
    pieces: list[Piece]
    line, fixed = 0, True

    def begin(self, line: int, fixed: bool) -> None:
        """A piece of text begins in this line of the template."""
        self.line, self.fixed, self.reads.of_expression = line, fixed, {}

    def read(self, value: Any) -> Any:
        """A value was read; of a secret that is its reference."""
        self.reads.note(value.reference if isinstance(value, Secret) else value)
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As jinja2's."""
        return self.read(super().getattr(obj, attribute))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """As jinja2's."""
        return self.read(super().getitem(obj, argument))


class _TracingRelease(_Tracing, ReleaseEnvironment):
    """The same for the templates of releases."""


class _SourcedQuoted(Sourced, Quoted):
    """What was quoted, and came from somewhere."""


def watched_environment(
    role: Role, *, quoted: bool = True, foreign: bool = False, reads: Reads, pieces: list[Piece]
) -> Any:
    """What `environment` makes, for templates that are watched: `pieces` is what the last one was written in."""
    if not quoted:  # single values of role.toml
        return environment(role, quoted=False)
    templates: Any = environment(role, foreign=foreign, kind=_TracingRelease if foreign else _Tracing)
    templates.reads, templates.pieces = reads, pieces
    templates.filters |= {form: _tracing(templates.filters[form], reads) for form in FORMATS}
    return templates


def _tracing(quote: Callable[..., Any], reads: Reads) -> Callable[..., Any]:
    """A filter whose quoted text knows where it comes from."""

    def quote_traced(value: Any) -> Any:
        if isinstance(value, Secret):  # it is written by its reference, and not by the names in its key
            value = Secret(str.__str__(value.product), str.__str__(value.name), value.reference)
        text = quote(value)
        if isinstance(text, Quoted) and isinstance(value, Sourced):
            return _SourcedQuoted(text).from_origins(value.origins, reads)
        return text

    return quote_traced
