"""What the fleet document may tell a role: parameters, which role.toml declares and `roles.ROLE` of the document sets.

A role also takes the parameters of the roles that it includes: `roles.common` is for all roles with common in them,
and what `roles.web` says itself counts before that.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, create_model, model_validator

from rolecall.forms.mistakes import Mistake, Mistakes, mistakes_of, suggest
from rolecall.forms.scalars import Duration, Frozen, Name, ParameterValue, Text, Word

if TYPE_CHECKING:
    from rolecall.render.role import Role

RoleSettings: TypeAlias = Mapping[str, Mapping[str, ParameterValue]]  # `roles` of the document


def _whole(seconds: float) -> int:
    if seconds != int(seconds):
        raise ValueError("is not a whole number of seconds")
    return int(seconds)


_TYPES: dict[str, Any] = {
    "text": Text,
    "word": Word,
    "integer": int,
    "duration": Annotated[Duration, AfterValidator(_whole)],
    "boolean": bool,
    "texts": tuple[Text, ...],
    "servers": tuple[Name, ...],
}


class Parameter(Frozen):
    """A parameter as role.toml declares it. A template gets a duration as whole seconds."""

    type: Literal["text", "word", "integer", "duration", "boolean", "choice", "texts", "servers"]
    default: ParameterValue
    help: Text = Field(min_length=1, description="What it is for, in a sentence; the schema shows it")
    min: int | None = Field(None, description="For integer and duration: the smallest value, or seconds")
    max: int | None = Field(None, description="For integer and duration: the highest value, or seconds")
    choices: tuple[Text, ...] = Field((), description="For choice: the allowed values")

    @property
    def annotation(self) -> Any:
        """The type of its values, as pydantic checks them."""
        if self.type == "choice":
            return Literal[self.choices]
        if self.type in ("integer", "duration"):
            return Annotated[_TYPES[self.type], Field(ge=self.min, le=self.max)]
        return _TYPES[self.type]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.choices) != (self.type == "choice"):
            raise ValueError("'choices' belongs to type = \"choice\", which must have some")
        if (self.min, self.max) != (None, None) and self.type not in ("integer", "duration"):
            raise ValueError(f"'min' and 'max' do not fit type = {self.type!r}: they limit integers and durations")
        try:
            TypeAdapter(self.annotation).validate_python(self.default, strict=True)
        except ValidationError as error:
            mistake = mistakes_of(error, Frozen)[0]
            raise ValueError(f"its default {mistake.message}") from None
        return self


class Values(Frozen):
    """The parameters of one role, all of them: what the document sets, else the default. Templates see its fields."""

    model_config = ConfigDict(validate_default=True)


def values_model(parameters: Mapping[str, Parameter]) -> type[Values]:
    """The type of a role's values: a field for each parameter, with its default and help."""
    fields: dict[str, Any] = {
        name: (parameter.annotation, Field(parameter.default, description=parameter.help))
        for name, parameter in parameters.items()
    }
    return create_model("Parameters", __base__=Values, **fields)


def parameter_values(role: "Role", roles: RoleSettings) -> Values:
    """What the role's templates see as `parameters`. Raises Mistakes for a value that the role cannot take.

    A parameter that this role does not declare is left out: see `unknown_parameters`.
    """
    declared, tables = role.table.parameter, parameter_tables(role, roles)
    values = {name: roles[table][name] for name, table in tables.items() if name in declared}
    try:
        return values_model(declared).model_validate(values)
    except ValidationError as error:
        mistakes = [_moved(mistake, tables[str(mistake.path[0])]) for mistake in mistakes_of(error, Values)]
        raise Mistakes("the fleet document", mistakes) from None


def unknown_parameters(role: "Role", roles: RoleSettings) -> list[str]:
    """A sentence for each parameter that the document sets for this role, and this image's role does not declare.

    An image that is older than the document must go on following it, a promotion above all: it does what it did before
    there was such a parameter. The strict door is where the document is written, `fleet check` and `fleet publish`.
    """
    return [
        f"roles.{table}.{name} of the document is ignored: the role {role.name!r} of this image has no such parameter"
        for name, table in sorted(parameter_tables(role, roles).items())
        if name not in role.table.parameter
    ]


def parameter_tables(role: "Role", roles: RoleSettings) -> dict[str, str]:
    """Parameter → the table of `roles` that sets it: the role's own before those of the roles that it includes."""
    lineage = (role.name, *role.table.include)
    return {name: table for table in reversed(lineage) for name in roles.get(table, {})}


def parameter_mistakes(role: "Role", settings: Mapping[str, Any], servers: Collection[str]) -> Iterator[Mistake]:
    """What is wrong with `roles.ROLE` of a document; `settings` is raw data. `servers`: those of the document."""
    model, mistakes = values_model(role.table.parameter), list[Mistake]()
    try:
        model.model_validate_json(json.dumps(settings))
    except ValidationError as error:
        mistakes = mistakes_of(error, model)
    wrong = {mistake.path[:1] for mistake in mistakes}
    for name, parameter in role.table.parameter.items():
        if parameter.type == "servers" and (name,) not in wrong:
            mistakes += _unknown_servers(name, settings.get(name, ()), servers)
    yield from (_moved(mistake, role.name) for mistake in mistakes)


def _unknown_servers(parameter: str, names: Collection[str], servers: Collection[str]) -> Iterator[Mistake]:
    for i, name in enumerate(names):
        if name not in servers:
            yield Mistake((parameter, i), f"there is no server {name!r}", suggest(name, servers, "add it to 'servers'"))


def _moved(mistake: Mistake, role: str) -> Mistake:
    """A mistake in a role's values, with its path in the document."""
    return Mistake(("roles", role, *mistake.path), mistake.message, mistake.hint)
