"""A self-test, as it is written in role.toml or in the document, and as it is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rolecall.forms.scalars import Duration, Frozen, Text, UrlPath

# What may be tested: the key that names the kind → what its value means.
KINDS = {
    "http": "a path that is asked over loopback with the product's hostname",
    "tcp": "host:port, database:NAME (its master) or cache:NAME (each of its servers)",
    "process": "the name of a program that must be running",
    "unit": "a unit of the role that must be active",
    "file": "a file that must not be older than max_age, and have what it is to contain",
    "disk": "a path whose file system must have free_mb left",
    "memory": "the least memory in MB that must be available",
    "attachments": "the role's attachments must be in place",
    "replication": "a database: that this server is in it what the document says, and not far behind",
    "memcached": "host:port of a memcached that keeps what it is given, with memory_mb of memory",
    "cron": "a file of the generation that cron must be able to load, and cron must be running",
}


class ProductCheck(Frozen):
    """A check that a product asks for in the document: exactly one of http and tcp."""

    http: UrlPath | None = None
    tcp: Text | None = None
    status: int = 200
    contains: Text | None = None
    name: Text | None = None
    timeout: Duration = Field(5.0, gt=0, le=600)
    required: bool = True

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.http is None) == (self.tcp is None):
            raise ValueError("must have exactly one of 'http' and 'tcp'")
        return self


class RoleCheck(Frozen):
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
    memory: int | None = None
    attachments: bool | None = None
    memcached: str | None = None
    replication: str | None = None
    memory_mb: str = ""
    cron: str | None = None
    host: str = ""
    port: str = ""
    status: int = 200
    contains: str | None = None
    headers: dict[str, str] = {}
    max_age: Duration | None = None
    free_mb: int | None = None
    timeout: Duration = Field(5.0, gt=0, le=600)
    required: bool = True
    blameless: bool = Field(False, description="Its failure is no generation's fault: nothing is rolled back for it")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of {', '.join(KINDS)}; it has {', '.join(given) or 'none'}")
        return self

    @property
    def kind(self) -> str:
        """The key of KINDS that this check has."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


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
