"""What a generation uses beside its files: releases, daemons, fixed places, validators. Plain data, as it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass

from rolecall.fleet.assignment import AssignedProduct


@dataclass(frozen=True)
class DeployedRelease:
    """The code of one product, where it comes from and where it lies below the state folder.

    `user`: whose its writable folders are; '' where whoever runs the agent has them all.
    """

    product: str
    version: str
    artifact: str
    sha256: str
    size: int
    folder: str
    document_root: str
    writable: tuple[str, ...]
    user: str = ""


@dataclass(frozen=True)
class DirectCommands:
    """How a unit is run without a service manager."""

    pidfile: str
    start: tuple[str, ...]
    reload: str
    stop: str


@dataclass(frozen=True)
class Unit:
    """A daemon, and the digest of all it reads from this generation. `instance`: one of several of its kind."""

    name: str
    service: str
    action: str
    direct: DirectCommands | None = None
    digest: str = ""
    instance: bool = False
    logs: tuple[str, ...] = ()  # patterns of the paths of its log files

    @property
    def tag(self) -> str:
        """The digest, short enough for a header: which configuration is answering."""
        return self.digest[:12]


@dataclass(frozen=True)
class Attachment:
    """A fixed place outside of the state folder: a link to `link` in the current generation, or a file."""

    path: str
    link: str | None
    content: str | None
    to: str | None = None


@dataclass(frozen=True)
class Validator:
    """A program that must accept the configuration."""

    name: str
    argv: tuple[str, ...]
    timeout: float
    unit: str | None = None


@dataclass(frozen=True)
class Replication:
    """How a database server is talked to: commands, whose input is SQL, and the file that makes its accounts."""

    dialect: str
    client: tuple[str, ...]
    remote: tuple[str, ...]
    dump: tuple[str, ...]
    user: str
    accounts: str
    max_lag: float
    duties: Mapping[str, str]  # what this server is in each of its databases, for a plan to tell
    socket: str = ""  # a generation of an earlier version has none of these
    pidfile: str = ""
    max_ack_wait: float = 10.0  # seconds
    address: str = ""  # by which its clients know it; '' where they are not shown a certificate
    account: str = ""  # of the server, which alone reads its key


def deployed_release(product: AssignedProduct, user: str) -> DeployedRelease:
    """The release of a product, where it lies on a node, and whose it is: '' where the node has no accounts."""
    release = product.release
    return DeployedRelease(
        product=product.name,
        version=release.version,
        artifact=release.artifact,
        sha256=release.sha256,
        size=release.size,
        folder=product.release_folder,
        document_root=product.document_root,
        writable=product.writable,
        user=user,
    )
