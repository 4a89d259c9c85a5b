"""A role as data: `templates/<role>/role.toml` and the templates beside it. No role has any Python of its own."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import Field, ValidationError

from rolecall.fleet.check import RoleCheck
from rolecall.forms.mistakes import Mistake, Mistakes, Path, locate, mistakes_of, suggest
from rolecall.forms.positions import parse_toml, toml_positions
from rolecall.forms.scalars import Frozen, Name, ParameterName, RelativePath
from rolecall.render.parameters import Parameter, Values
from rolecall.render.platforms import joined_tables

Each: TypeAlias = Literal["product", "cache", "database"]


class FileSpec(Frozen):
    """A file of the generation. `path`, `owner`, `group`, `units` and `when` are templates."""

    source: RelativePath = Field(description="Template beside role.toml; with release = true, a file of the release")
    path: str = Field(description="Where it lies within the generation")
    each: Each | None = Field(None, description="One file for each product, cache or database of the node")
    when: str = Field("", description="A Jinja expression; the file is there only where it is true")
    release: bool = Field(False, description="The template comes with the product's release, if it has one")
    mode: str = Field("0644", pattern=r"^0[0-7]{3}$")
    owner: str = "root"
    group: str = "root"
    units: tuple[str, ...] = Field(
        (), description="The units that read it, which are reloaded or restarted when it changes"
    )


class AttachmentSpec(Frozen):
    """A fixed place where a daemon looks: a link into the generation, or a file with a line that includes it.

    `to` is for a link that leads elsewhere, such as a plugin of the distribution that this role wants.
    """

    path: str
    link: str | None = None
    to: str | None = None
    content: str | None = None


class ValidatorSpec(Frozen):
    """A program that reads the configuration as the daemon would, and fails if the daemon would."""

    name: str
    each: Each | None = None
    when: str = Field("", description="A Jinja expression; the program is asked only where it is true")
    argv: tuple[str, ...] = Field(min_length=1)
    unit: Name | None = Field(None, description="Asked only on nodes that run this unit")
    timeout: float = 60.0


class DirectSpec(Frozen):
    """How a unit is run where there is no service manager: commands, and the signals of its process."""

    pidfile: str
    start: tuple[str, ...] = Field(min_length=1)
    reload: str = Field("", pattern=r"^([A-Z0-9]+)?$", description="A signal; none: stop and start")
    stop: str = Field("TERM", pattern=r"^[A-Z0-9]+$")


class UnitSpec(Frozen):
    """A daemon, and how it takes a new configuration. Units are reconfigured in their order in role.toml.

    `each`: one instance for each cache, say; the agent enables those that there are and stops those that are gone.
    """

    name: str
    each: Each | None = None
    service: str = Field(description="The service manager's name for it")
    action: Literal["reload", "restart", "start"]
    logs: tuple[str, ...] = Field((), description="Patterns of the paths of its log files, beside the journal")
    direct: DirectSpec | None = None


class ReplicationSpec(Frozen):
    """How the role's database server is talked to. Strings are templates; the commands read SQL from their input."""

    dialect: str = Field(description="mariadb or mysql")
    client: tuple[str, ...] = Field(min_length=1, description="As its administrator")
    remote: tuple[str, ...] = Field(min_length=1, description="Another server, as the account for replication")
    dump: tuple[str, ...] = Field(min_length=1, description="Writes all data of another server as SQL")
    user: str = Field(description="The account for replication")
    account: str = Field("root", description="Of the machine: as whom the server runs, and so reads its key")
    accounts: str = Field(description="The generation's file of SQL that makes schemas and accounts")
    socket: str = Field(description="The server's local socket")
    pidfile: str = Field(description="Where the server writes its process's number")
    max_lag: str | int = Field(60, description="Seconds that a replica may be behind")
    max_ack_wait: str | int = Field(10, description="Seconds that a write may wait to be acknowledged")


class RoleFile(Frozen):
    """All of role.toml."""

    description: str
    include: tuple[Name, ...] = Field((), description="Other roles whose parts this one has too")
    packages: dict[Name, tuple[str, ...]] = {}
    platform: dict[Name, dict[str, str | int]] = Field({}, description="Names of the platforms; `any` is for all")
    parameter: dict[ParameterName, Parameter] = Field({}, description="What the fleet document may tell this role")
    accounts: str | None = Field(None, description="The generation's file for systemd-sysusers")
    folders: str | None = Field(None, description="The generation's file for systemd-tmpfiles")
    file: tuple[FileSpec, ...] = ()
    attachment: tuple[AttachmentSpec, ...] = ()
    validator: tuple[ValidatorSpec, ...] = ()
    unit: tuple[UnitSpec, ...] = ()
    check: tuple[RoleCheck, ...] = ()
    replication: ReplicationSpec | None = None


class Role(NamedTuple):
    """A role that was read: its name, its table, and its templates by name."""

    name: str
    table: RoleFile
    templates: Mapping[str, str]


def with_included(table: RoleFile, included: Role) -> RoleFile:
    """The table with the parts of another role behind its own; its templates have that role's name before them.

    Of names, packages and parameters both are there, and where both have one, the role's own counts.
    """
    part = included.table
    lists: dict[str, Any] = {
        key: getattr(table, key) + getattr(part, key) for key in ("attachment", "validator", "unit", "check")
    }
    files = tuple(
        file
        if file.release or "/" in file.source
        else file.model_copy(update={"source": f"{included.name}/{file.source}"})
        for file in part.file
    )
    packages = {
        platform: tuple(dict.fromkeys(table.packages.get(platform, ()) + part.packages.get(platform, ())))
        for platform in table.packages | part.packages
    }
    return table.model_copy(
        update={
            **lists,
            "file": table.file + files,
            "include": tuple(dict.fromkeys(table.include + part.include)),
            "packages": packages,
            "parameter": part.parameter | table.parameter,
            "platform": joined_tables(table.platform, part.platform),
        }
    )


def parse_role(text: str, source: str, templates: Mapping[str, str]) -> RoleFile:
    """role.toml as a type, its names checked against one another. Raises Mistakes."""
    return checked(parse_table(text, source), text, source, templates)


def parse_table(text: str, source: str) -> RoleFile:
    """role.toml as a type. Raises Mistakes."""
    data = parse_toml(text, source)
    try:
        return RoleFile.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise Mistakes(source, locate(mistakes_of(error, RoleFile), toml_positions(text))) from None


def checked(table: RoleFile, text: str, source: str, templates: Mapping[str, str]) -> RoleFile:
    """The table, if its names agree with one another and with the templates. Raises Mistakes."""
    if mistakes := list(_mistakes(table, templates)):
        raise Mistakes(source, locate(mistakes, toml_positions(text)))
    return table


def _mistakes(table: RoleFile, templates: Mapping[str, str]) -> Iterator[Mistake]:
    yield from _file_mistakes(table, templates)
    yield from _unit_mistakes(table)
    yield from _check_mistakes(table)
    for i, validator in enumerate(table.validator):
        if validator.unit is not None:
            yield from _unknown_units(table, ("validator", i, "unit"), [validator.unit])
    for i, attachment in enumerate(table.attachment):
        if [attachment.link, attachment.to, attachment.content].count(None) != 2:
            yield Mistake(("attachment", i), "must have exactly one of 'link', 'to' and 'content'")
    for name in table.parameter:
        if hasattr(Values, name) or name.startswith("model_"):
            yield Mistake(("parameter", name), f"a parameter cannot be called {name!r}", "choose another name")


def _unknown_units(table: RoleFile, path: Path, names: Iterable[str]) -> Iterator[Mistake]:
    units = [unit.name for unit in table.unit]
    for name in names:
        if name not in units:
            yield Mistake(path, f"there is no unit {name!r}", suggest(name, units, "add [[unit]]"))


def _file_mistakes(table: RoleFile, templates: Mapping[str, str]) -> Iterator[Mistake]:
    for i, file in enumerate(table.file):
        if not file.release and file.source not in templates:
            hint = suggest(file.source, templates, "add the template")
            yield Mistake(("file", i, "source"), f"there is no template {file.source!r}", hint)
        if file.release and file.each != "product":
            hint = 'add each = "product"'
            yield Mistake(("file", i, "release"), "only a product has a release that can bring a template", hint)
        yield from _unknown_units(table, ("file", i, "units"), file.units)


def _unit_mistakes(table: RoleFile) -> Iterator[Mistake]:
    for i, unit in enumerate(table.unit):
        if unit.direct and unit.direct.reload and unit.action != "reload":
            message = f"a unit whose action is {unit.action!r} is never sent the signal to reload"
            yield Mistake(("unit", i, "direct", "reload"), message, 'remove it, or set action = "reload"')


def _check_mistakes(table: RoleFile) -> Iterator[Mistake]:
    for i, check in enumerate(table.check):
        if check.unit is not None and "{" not in check.unit:  # the name of an instance is known on a node only
            yield from _unknown_units(table, ("check", i, "unit"), [check.unit])
        if check.replication is not None and table.replication is None:
            hint = "add [replication]: how to reach the role's database server"
            yield Mistake(("check", i, "replication"), "the role has no database server that could be asked", hint)
