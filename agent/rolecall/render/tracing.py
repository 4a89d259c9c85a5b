"""Where each line of a rendered file comes from: the file is rendered once more, and every step of that is watched.

Nothing is guessed: jinja2 tells before each piece of text which line of which template writes it, and the values of the
document remember being read (`origins`). What a line says beside that is the template's own text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rolecall.fleet.assignment import AssignedProduct, Assignment
from rolecall.fleet.topology import AssignedCache, AssignedDatabase, Endpoint, NodeDatabase, variables
from rolecall.forms.mistakes import Mistakes
from rolecall.render.evaluation import Scope
from rolecall.render.generation import ManagedFile
from rolecall.render.origins import MACHINE, ROLE, SETTINGS, Origin, Reads, Sourced, SourcedText, derived, sourced
from rolecall.render.parameters import RoleSettings, Values, parameter_tables
from rolecall.render.rendering import Renderer
from rolecall.render.role import FileSpec, Role
from rolecall.render.settings import RenderPaths, RenderSettings
from rolecall.render.watching import Piece, watched_environment


@dataclass(frozen=True)
class TracedLine:
    """A line of a file, with secrets and tags as tokens: its lines in the template, the keys whose values it has."""

    text: str
    template_lines: tuple[int, ...]
    origins: tuple[Origin, ...]


@dataclass(frozen=True)
class TracedFile:
    """A file as it is rendered, and the keys that its template has looked at."""

    file: ManagedFile
    spec: FileSpec
    lines: tuple[TracedLine, ...]
    origins: tuple[Origin, ...]


def trace(  # noqa: PLR0917 - what `render` takes, and what is asked
    role: Role,
    assignment: Assignment,
    settings: RenderSettings,
    release_templates: Mapping[str, Mapping[str, str]],
    reads: Reads,
    path: str,
) -> TracedFile | None:
    """The file at this path of the generation, or None where the assignment gives no such file.

    `assignment` is made of a document that is `sourced`. Raises Mistakes where the role does not fit the document.
    """
    renderer = _TracingRenderer(role, assignment, settings, release_templates, reads)
    units = {unit.name for unit in renderer.units()}
    for spec in role.table.file:
        for file in renderer.files_of(spec, units):
            if mistakes := renderer.evaluator.mistakes:
                raise Mistakes(f"the role {role.name!r}, rendered for {assignment.server!r},", mistakes)
            if file.path == path:
                return TracedFile(file, spec, tuple(_lines(renderer.pieces)), tuple(reads.of_template))
    return None


def trace_attachment(role: Role, assignment: Assignment, settings: RenderSettings, path: str) -> tuple[TracedLine, ...]:
    """The lines of a fixed place that has a content of its own; none where this role has no such place."""
    renderer = _TracingRenderer(role, assignment, settings, {}, Reads())
    for spec in role.table.attachment:
        if spec.content is not None and renderer.evaluator.text(spec.path) == path:
            renderer.evaluator.quoted_text(spec.content, renderer.context)
            return tuple(_lines(renderer.pieces))
    return ()


class _TracingRenderer(Renderer):
    def __init__(
        self,
        role: Role,
        assignment: Assignment,
        settings: RenderSettings,
        release_templates: Mapping[str, Mapping[str, str]],
        reads: Reads,
    ) -> None:
        self.reads = reads
        self.pieces: list[Piece] = []
        databases = tuple(_with_servers(database, reads) for database in assignment.databases)
        products = tuple(map(self._with_origins, assignment.products))
        assignment = replace(assignment, products=products, databases=databases)
        environments = partial(watched_environment, reads=reads, pieces=self.pieces)
        super().__init__(role, assignment, settings, release_templates, environments)
        own_names = settings.names or {}
        self.context["names"] = {
            name: sourced(value, reads, ("names", name), SETTINGS if name in own_names else ROLE)
            for name, value in self.context["names"].items()
        }
        fields = {name: sourced(getattr(settings.paths, name), reads, ("paths", name), SETTINGS) for name in _PATHS}
        self.context["paths"] = RenderPaths(**fields)
        hardware = {
            name: sourced(value, reads, ("machine", name), MACHINE) for name, value in vars(settings.hardware).items()
        }
        self.context["machine"] = replace(settings.hardware, **hardware)
        roles = assignment.everything.roles if assignment.everything else {}
        self.context["parameters"] = self._parameters(self.context["parameters"], roles)

    def _with_origins(self, product: AssignedProduct) -> AssignedProduct:
        """The product, in whose environment the endpoints of databases and caches know what they are made of."""
        databases, caches = (_with_servers(entries, self.reads) for entries in (product.databases, product.caches))
        endpoints = self.reads.noted(variables(databases, caches))
        endpoint_values = {name: derived(value, keys, self.reads) for (name, value), keys in endpoints}
        environment = tuple((name, endpoint_values.get(name, value)) for name, value in product.environment)
        return replace(product, environment=environment, databases=databases, caches=caches)

    def _scopes(self, each: str | None) -> Iterator[Scope]:
        for scope, keys in self.reads.noted(super()._scopes(each)):
            yield {**scope, "code": derived(scope["code"], keys, self.reads)} if "code" in scope else scope

    def _parameters(self, values: Values, roles: RoleSettings) -> Values:
        tables = parameter_tables(self.role, roles)
        fields = {
            name: sourced(getattr(values, name), self.reads, ("roles", tables[name], name))
            if name in tables
            else sourced(getattr(values, name), self.reads, ("parameter", name, "default"), ROLE)
            for name in type(values).model_fields
        }
        return values.model_copy(update=fields)


_PATHS = ("state", "run", "root")


def _with_servers(value: Any, reads: Reads) -> Any:
    """The same, in which an endpoint's address has also come from where the document names that server."""
    match value:
        case tuple():
            return tuple(_with_servers(element, reads) for element in value)
        case AssignedDatabase() | AssignedCache() | NodeDatabase():
            return replace(value, **{name: _with_servers(part, reads) for name, part in vars(value).items()})
        case Endpoint():
            keys = tuple(
                key for part in (value.address, value.server) if isinstance(part, Sourced) for key in part.origins
            )
            return replace(value, address=SourcedText(value.address).from_origins(keys, reads))
    return value


def _lines(pieces: list[Piece]) -> Iterator[TracedLine]:
    """The pieces as lines: each has the template lines and origins of all that stands in it."""
    text, places, keys = "", dict[int, None](), dict[Origin, None]()
    for piece in pieces:
        parts = piece.text.split("\n")
        for i, part in enumerate(parts):
            is_last = i == len(parts) - 1
            if part or not is_last:
                places[piece.line + (i if piece.fixed else 0)] = None
                keys |= dict.fromkeys(piece.origins)
            text += part
            if not is_last:
                yield TracedLine(text, tuple(places), tuple(keys))
                text, places, keys = "", {}, {}
    if text:
        yield TracedLine(text, tuple(places), tuple(keys))
