"""The certificates that database servers report, taken into a document's file: from there they are believed.

A report is the word of whoever may write it, so one that is in the document already is replaced only where the operator
names the server: docs/decisions/0055-each-server-is-its-own-authority.md.
"""

import ssl
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rolecall.errors import ConfigFault, FetchFault
from rolecall.fleet.schema import Fleet, parse_fleet
from rolecall.fleet.topology import duties
from rolecall.forms.answers import Answer
from rolecall.forms.editing import Edit, edited
from rolecall.forms.mistakes import suggest
from rolecall.forms.quoting import pem
from rolecall.forms.scalars import Certificate
from rolecall.forms.stored import json_object
from rolecall.host import files
from rolecall.store import Store

_MOST = 16 * 1024 * 1024  # bytes of a report
_ADAPTER: TypeAdapter[str] = TypeAdapter(Certificate)


@dataclass(frozen=True)
class ServerCertificate:
    """What a server reports. `state`: known | added | replaced | other (than the document's) | none | wrong."""

    server: str
    state: str
    sha256: str = ""  # its fingerprint
    until: datetime | None = None
    reason: str = ""  # why there is none, or it is wrong


@dataclass(frozen=True)
class FleetCertificates(Answer):
    """What the servers of databases report, and what of it the file has now."""

    source: str
    servers: tuple[ServerCertificate, ...]

    @property
    def exit_code(self) -> int:
        """0 once the file has the certificate of each; 75 while one has reported none, 1 for what a person decides."""
        states = {server.state for server in self.servers}
        return 1 if states & {"other", "wrong"} else 75 if "none" in states else 0


def take_certificates(path: Path, store: Store, replaced: Collection[str]) -> FleetCertificates:
    """Write what servers report to the document's file. `replaced`: those whose certificate may be another one.

    Raises ConfigFault, FetchFault, HostFault.
    """
    path = path.resolve()  # a link stays one
    try:
        mode, text = path.stat().st_mode & 0o777, path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFault(f"cannot read {path}: {error}") from None
    fleet = parse_fleet(text.encode(), str(path))
    names = _servers(fleet)
    if wrong := [name for name in replaced if name not in names]:
        known = ", ".join(names) or "none"
        raise ConfigFault(
            f"{wrong[0]!r} is no server of a database whose connections are encrypted",
            suggest(wrong[0], names, f"the document has: {known}"),
        )
    taken = {name: _reported(store, name, fleet.servers[name].certificate, name in replaced) for name in names}
    edits = [
        Edit("add", ("servers", name, "certificate"), certificate)
        for name, (server, certificate) in taken.items()
        if server.state in ("added", "replaced")
    ]
    if edits:
        files.replace(path, edited(text, edits, str(path)).encode(), mode)
    return FleetCertificates(str(path), tuple(server for server, _ in taken.values()))


def _servers(fleet: Fleet) -> list[str]:
    """Those of databases whose connections are encrypted."""
    databases = (database for database in fleet.databases.values() if database.tls == "on")
    return sorted({name for database in databases for name in duties(database)})


def _reported(store: Store, name: str, known: str | None, replace: bool) -> tuple[ServerCertificate, str]:
    """What a server's report says, and its certificate. Raises FetchFault where the store is out."""
    try:
        report = json_object(store.get(f"reports/{name}.json", _MOST).data)
    except FetchFault as fault:
        if fault.cause != "no-key":
            raise
        return ServerCertificate(name, "none", reason="it has no report in this store"), ""
    except ValueError as error:
        return ServerCertificate(name, "wrong", reason=f"its report cannot be read: {error}"), ""
    if not report.get("certificate"):
        reason = "it does not report one: has it started its server since this version of the agent is there?"
        return ServerCertificate(name, "none", reason=reason), ""
    return _judged(name, report["certificate"], known, replace)


def _judged(name: str, reported: Any, known: str | None, replace: bool) -> tuple[ServerCertificate, str]:
    try:
        certificate = _ADAPTER.validate_python(reported)
        until = _end(certificate)
    except (ValidationError, ssl.SSLError):
        return ServerCertificate(name, "wrong", reason="what it reports is not the certificate of an authority"), ""
    state = "known" if certificate == known else "added" if known is None else "replaced" if replace else "other"
    fingerprint = sha256(ssl.PEM_cert_to_DER_cert(pem(certificate))).hexdigest()
    return ServerCertificate(name, state, fingerprint, until), certificate


def _end(certificate: str) -> datetime:
    """When it ends. Raises ssl.SSLError for what is not the certificate of an authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(certificate))
    for authority in context.get_ca_certs():
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(authority["notAfter"])), UTC)
    raise ssl.SSLError("it is the certificate of no authority")
