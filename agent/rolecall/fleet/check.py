"""A self-test, as it is written in role.toml or in the document, and as it is run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rolecall.forms.mistakes import Mistake, validation_error
from rolecall.forms.scalars import Duration, Frozen, Text, UrlPath


@dataclass(frozen=True)
class Kind:
    """What the value of a kind of check means, which limits it takes, and which of these it cannot do without.

    A check refuses the limits of other kinds: they would be written down, never looked at, and pass.
    """

    meaning: str
    limits: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    machines: bool = False  # what fails then is the machine
    serving: bool = False  # it says whether a node serves, not whether it is ready


# The key that names the kind → the kind. Types and defaults of the keys and the limits stand in RoleCheck; whatever
# is listed here reaches the probe of the same name in checks/probes.py.
KINDS = {
    "http": Kind(
        "a path that is asked over loopback with the product's hostname",
        limits=("host", "port", "status", "contains", "headers"),
        required=("host", "port"),
    ),
    "tcp": Kind("host:port, database:NAME (its master) or cache:NAME (each of its servers)"),
    "process": Kind("the name of a program that must be running"),
    "unit": Kind("a unit of the role that must be active"),
    "file": Kind(
        "a file that must exist, be no older than max_age, and contain a text",
        limits=("max_age", "contains"),
    ),
    "disk": Kind(
        "a path whose file system must have free_mb left", limits=("free_mb",), required=("free_mb",), machines=True
    ),
    "memory": Kind("the least memory in MB that must be available", machines=True),
    "attachments": Kind("the role's attachments must be in place"),
    "products": Kind("the node must have a product: without one it is ready, and does not serve", serving=True),
    "replication": Kind("a database: that this server is in it what the document says, and not far behind"),
    "memcached": Kind(
        "host:port of a memcached that keeps what it is given, with memory_mb of memory",
        limits=("memory_mb",),
        required=("memory_mb",),
    ),
    "cron": Kind("a file of the generation that cron must not pass over"),
}

Status = Annotated[int, Field(ge=100, le=599)]


class _CheckSpec(Frozen):
    """A check as somebody writes it: one key of KINDS, and limits of that kind alone."""

    @classmethod
    def _kinds(cls) -> dict[str, Kind]:
        """The kinds that this model can be."""
        return {name: kind for name, kind in KINDS.items() if name in cls.model_fields}

    def _is_set(self, name: str) -> bool:
        return name in self.model_fields_set and getattr(self, name) is not None

    @property
    def kind(self) -> str:
        """The key of KINDS that this check has."""
        return next(name for name in self._kinds() if self._is_set(name))

    @model_validator(mode="after")
    def _one_kind_and_its_limits(self) -> Self:
        kinds = self._kinds()
        names = [name for name in kinds if self._is_set(name)]
        if len(names) != 1:
            raise ValueError(f"must have exactly one of {', '.join(kinds)}; it has {', '.join(names) or 'none'}")
        if mistakes := list(self._limit_mistakes()):
            raise validation_error(type(self).__name__, mistakes)
        return self

    def _limit_mistakes(self) -> Iterator[Mistake]:
        kinds, name = self._kinds(), self.kind
        limits = dict.fromkeys(limit for kind in kinds.values() for limit in kind.limits)
        for limit in limits:
            if self._is_set(limit) and limit not in kinds[name].limits:
                owners = ", ".join(other for other, kind in kinds.items() if limit in kind.limits)
                yield Mistake((limit,), f"a check of the kind {name!r} does not look at it", f"it is for: {owners}")
        for limit in kinds[name].required:
            if limit in type(self).model_fields and not self._is_set(limit):
                yield Mistake(
                    (limit,), f"missing: without it a check of the kind {name!r} would test nothing", f"add {limit!r}"
                )


class ProductCheck(_CheckSpec):
    """A check that a product asks for in the document: exactly one of http and tcp."""

    http: UrlPath | None = None
    tcp: Text | None = None
    status: Status = 200
    contains: Annotated[Text, Field(min_length=1)] | None = None
    name: Text | None = None
    timeout: Duration = Field(5.0, gt=0, le=600)
    required: bool = True


class RoleCheck(_CheckSpec):
    """A check in role.toml: one kind (the keys of KINDS) and what is expected of it. Strings are templates."""

    each: Literal["product", "cache", "database"] | None = None
    when: Text = ""
    name: Text

    http: str | None = None
    tcp: str | None = None
    process: str | None = None
    unit: str | None = None
    file: str | None = None
    disk: str | None = None
    memory: int | None = Field(None, gt=0)
    attachments: Literal[True] | None = None
    products: Literal[True] | None = None
    memcached: str | None = None
    replication: str | None = None
    cron: str | None = None

    host: str | None = None
    port: str | None = None
    status: Status = 200
    contains: str | None = Field(None, min_length=1)
    headers: dict[str, str] = {}
    max_age: Duration | None = Field(None, gt=0)
    free_mb: int | None = Field(None, gt=0)
    memory_mb: str | None = None

    timeout: Duration = Field(5.0, gt=0, le=600)
    required: bool = True
    blameless: bool = Field(False, description="Its failure is no generation's fault: nothing is rolled back for it")

    @property
    def limits(self) -> dict[str, Any]:
        """The limits of its kind that are set or have a default."""
        values = {limit: getattr(self, limit) for limit in KINDS[self.kind].limits}
        return {limit: value for limit, value in values.items() if value is not None}

    def _limit_mistakes(self) -> Iterator[Mistake]:
        yield from super()._limit_mistakes()
        if self.required and KINDS[self.kind].serving:
            hint = "add required = false"
            yield Mistake((self.kind,), "says whether a node serves; it cannot be required for a ready one", hint)
        if self.blameless and not self.required:
            hint = "remove one of the two"
            yield Mistake(("blameless",), "a check that is not required rolls nothing back, blameless or not", hint)


@dataclass(frozen=True)
class Check:
    """A check ready to run: everything filled in, as it stands in a generation."""

    name: str
    kind: str
    target: str
    expect: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 5.0
    required: bool = True
    blameless: bool = False  # its failure is no fault of the generation
    product: str = ""  # whose check it is; '' is the node's own


@dataclass(frozen=True)
class CheckResult:
    """How one check ended; `reason` says why it failed, or that it does not apply."""

    name: str
    ok: bool
    required: bool
    seconds: float
    reason: str = ""
    blameless: bool = False
    product: str = ""
    machines: bool = False  # it failed for want of space, memory or the like: nothing that was asked is at fault
    serving: bool = False  # it says whether the node serves, not whether it is ready
