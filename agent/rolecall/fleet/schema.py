"""The fleet document: every server, role, product, database and cache, as types; `parse_fleet` is the only way in."""

from typing import Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError, field_validator

from rolecall.fleet import agreement
from rolecall.fleet.account_numbers import OWN_NUMBERS
from rolecall.fleet.check import ProductCheck
from rolecall.fleet.databases import Cache, Database
from rolecall.forms.mistakes import Mistake, Mistakes, locate, mistakes_of
from rolecall.forms.positions import json_positions, parse_json
from rolecall.forms.scalars import (
    AccountName,
    Address,
    Certificate,
    EnvironmentName,
    Frozen,
    GroupName,
    Hostname,
    Name,
    ParameterName,
    ParameterValue,
    RelativePath,
    Schedule,
    SecretReference,
    Sha256,
    Text,
    UrlPath,
    Version,
    Word,
)

MAX_BYTES = 8 * 1024 * 1024  # a fleet of 10,000 servers and 200 products is 3.3 MB


class Release(Frozen):
    """One version of a product's code."""

    version: Version = Field(description="What people call it; it appears in headers and reports")
    artifact: RelativePath = Field(description="Path of the archive in the store: .tar.gz, .tar.zst or .tar")
    sha256: Sha256 = Field(description="Digest of the archive")
    size: int = Field(gt=0, description="Bytes of the archive")

    @field_validator("artifact")
    @classmethod
    def _kind(cls, artifact: str) -> str:
        if not artifact.endswith((".tar.gz", ".tgz", ".tar.zst", ".tar")):
            raise ValueError(f"{artifact!r} is not an archive that can be unpacked: .tar.gz, .tar.zst or .tar")
        return artifact


class CronJob(Frozen):
    """A command that cron runs as the product's user, with the product's environment, in the release's folder."""

    name: Name
    schedule: Schedule = Field(description="Five fields of cron, or @hourly, @daily, @weekly, @monthly, @yearly")
    command: tuple[Text, ...] = Field(min_length=1, description="Program and arguments; no shell reads them")

    @field_validator("command")
    @classmethod
    def _program(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command[0] or command[0].startswith("-"):
            raise ValueError(f"{command[0]!r} is not the name of a program")
        return command


class Product(Frozen):
    """A site or application."""

    hostnames: tuple[Hostname, ...] = Field(min_length=1, description="The first one is the site's own name")
    release: Release
    document_root: RelativePath = Field("public", description="Folder of the release that the web server shows")
    runtime: Literal["php", "static"] = Field("php", description="static: no php-fpm pool")
    workers: int = Field(8, ge=1, le=1000, description="php-fpm processes at most")
    user: AccountName = Field(
        description="The account that the product's processes run as; no other product may have it"
    )
    uid: int | None = Field(
        None,
        ge=OWN_NUMBERS.start,
        lt=OWN_NUMBERS.stop,
        description="The number of that account and of its own group; by default made from the product's name",
    )
    groups: tuple[GroupName, ...] = Field((), description="Further groups of that account, shared with other products")
    writable: tuple[RelativePath, ...] = Field((), description="Folders of the release that are kept across releases")
    environment: dict[EnvironmentName, Text] = Field({}, description="Variables of requests and cron jobs")
    secrets: dict[EnvironmentName, SecretReference] = Field({}, description="Variables whose values are references")
    databases: tuple[Name, ...] = ()
    caches: tuple[Name, ...] = ()
    cron: tuple[CronJob, ...] = ()
    checks: tuple[ProductCheck, ...] = Field((), description="Self-tests that must pass before the node is ready")

    @property
    def database_user(self) -> str:
        """The account that it has in its databases."""
        return self.environment.get("DB_USER", self.user)


class Server(Frozen):
    """A machine: what it is for and what runs on it."""

    role: Name
    instance: Word | None = Field(None, description="The provider's instance id; none for a physical machine")
    address: Address
    zone: Word
    products: tuple[Name, ...] = ()
    certificate: Certificate | None = Field(
        None,
        description="Of its authority, by which clients know it; `rolecall fleet certificates` sets it",
    )
    spare: bool = Field(False, description="Counts as serving without a product, until it is given one")


class Previous(Frozen):
    """The document that one replaced."""

    serial: int = Field(ge=1)
    sha256: Sha256 = Field(description="Of the object in the store, signature and all: of history/SERIAL.json")


class History(Frozen):
    """How this document is tied to those before it, which the store keeps. No node looks at it."""

    previous: Previous | None = Field(None, description="Set by `rolecall fleet publish`; null for the first one")
    keep: int | None = Field(None, ge=2, description="How many documents the store keeps; by default all")


class Header(Frozen):
    """What is judged before all the rest is looked at."""

    model_config = ConfigDict(extra="ignore")

    format: Literal[1]
    fleet: Name = Field(description="The fleet's name; a node refuses another fleet's document")
    serial: int = Field(ge=1, description="Raised with every change; a node refuses a lower one")
    issued: AwareDatetime
    not_after: AwareDatetime = Field(
        description="From then on a new node refuses it and a running one keeps what it has"
    )


class Fleet(Header):
    """The one shared document."""

    model_config = ConfigDict(extra="forbid")

    products: dict[Name, Product] = {}
    servers: dict[Name, Server] = {}
    databases: dict[Name, Database] = {}
    caches: dict[Name, Cache] = {}
    roles: dict[Name, dict[ParameterName, ParameterValue]] = Field(
        {}, description="What the servers of a role are told: the parameters that its role.toml declares"
    )
    history: History | None = None


def parse_header(raw: bytes, source: str) -> Header:
    """What is judged first. Raises Mistakes with everything that is wrong in the document, not only in its header."""
    try:
        return Header.model_validate_json(raw)
    except ValidationError:
        return parse_fleet(raw, source)


def parse_fleet(raw: bytes, source: str = "fleet document") -> Fleet:
    """The document as a type. Raises Mistakes (a ConfigFault) with everything that is wrong, each with its position."""
    if len(raw) > MAX_BYTES:
        raise Mistakes(source, [Mistake((), f"is {len(raw)} bytes; at most {MAX_BYTES} are read")])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        *lines, last = raw[: error.start].decode("utf-8").split("\n")
        mistake = Mistake((), f"is not UTF-8 at byte {error.start}", "", len(lines) + 1, len(last) + 1)
        raise Mistakes(source, [mistake]) from None
    data = parse_json(text, source)
    mistakes, fleet = list(agreement.mistakes(data)), None
    try:
        fleet = Fleet.model_validate_json(text)
    except ValidationError as error:
        mistakes += mistakes_of(error, Fleet)
    if mistakes or fleet is None:
        raise Mistakes(source, locate(mistakes, json_positions(text)))
    return fleet


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Fleet.model_json_schema()}


__all__ = [
    "Cache",
    "CronJob",
    "Database",
    "Fleet",
    "Header",
    "Product",
    "Release",
    "Server",
    "UrlPath",
    "parse_fleet",
    "parse_header",
    "schema",
]
