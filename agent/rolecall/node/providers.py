"""Whatever answers to a scheme of agent.toml or of the document, opened: stores, identity sources, stores of secrets.

This is the one module that knows which provider a scheme belongs to. To add a provider: a folder beside `aws/` with a
class of the methods of `Provider`, its own table in `settings.Access`, a property here as `aws` is one, its schemes in
STORES, SOURCES and SECRETS, and a `case` for each of them.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rolecall.errors import ConfigFault, Fault
from rolecall.fleet.identity import Identity
from rolecall.forms.mistakes import suggest
from rolecall.settings import Access
from rolecall.store import Store

if TYPE_CHECKING:
    from rolecall.aws.provider import AwsProvider

STORES = ("s3", "https", "file")
SOURCES = ("ec2", "file")
SECRETS = {"ssm": "aws", "secretsmanager": "aws"}  # and whose they are


class Provider(Protocol):
    """What the agent needs of a cloud. Its libraries are imported when they are used, and not before."""

    def open_store(self, url: str) -> Store:
        """A store of the provider's own kind. Raises ConfigFault for a URL that is wrong."""

    def identify(self, until: float, root: str) -> Identity | None:
        """Who the provider says this machine is; None if it is certainly not one of the provider's.

        `until`: a monotonic time. `root`: the folder below which this machine lies. Raises FetchFault with the cause.
        """

    def read_secrets(self, references: list[str]) -> dict[str, str | Fault]:
        """The value of each reference, or why that one alone cannot be had. Raises FetchFault with the cause where the
        provider's store of secrets is out; no message holds a value."""

    def locate(self, region: str | None) -> None:
        """The region of this machine's identity: the default wherever agent.toml names none."""

    def signing_files(self) -> dict[str, str]:
        """What `signer` needs to sign the small request of a later refresh: files of the run folder, by name."""

    def questions(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """What `rolecall doctor` asks once for the provider: a title, and a call that raises a Fault."""


class Providers:
    """The providers that a machine uses, each opened when it is first needed.

    `run` is the folder in which an earlier run of this boot left credentials; None where there are no such runs.
    """

    def __init__(self, access: Access, run: Path | None = None) -> None:
        self.access, self.run = access, run
        self._opened: list[Provider] = []
        self._region: str | None = None

    @cached_property
    def aws(self) -> "AwsProvider":
        """Amazon Web Services, or what speaks its protocols."""
        from rolecall.aws.provider import AwsProvider

        provider = AwsProvider(self.access.aws, self.access.network, self.run)
        self._opened.append(provider)
        provider.locate(self._region)
        return provider

    def open_store(self, url: str) -> Store:
        """The store that a URL names. Raises ConfigFault for a kind that there is not, or a URL that is wrong."""
        scheme, _, place = url.partition("://")
        match scheme:
            case "file":
                from rolecall.store.file import FileStore

                return FileStore(place)
            case "https":
                from rolecall.store.https import HttpsStore

                return HttpsStore(url, self.access.network)
            case "s3":
                return self.aws.open_store(url)
            case _:
                hint = suggest(scheme, STORES, f"one of: {', '.join(STORES)}")
                raise ConfigFault(f"there is no store of the kind {scheme!r}", hint)

    def identify(self, source: str, until: float, root: str) -> Identity | None:
        """What one source says of this machine, as `metadata.identify` asks it."""
        kind, _, place = source.partition(":")
        match kind:
            case "ec2":
                return self.aws.identify(until, root)
            case "file":
                from rolecall.metadata import file

                return file.identify(place)
            case _:
                hint = suggest(kind, SOURCES, f"one of: {', '.join(SOURCES)}")
                raise ConfigFault(f"there is no identity source {kind!r}", hint)

    def read_secrets(self, references: Iterable[str]) -> dict[str, str | Fault]:
        """What references to providers' stores of secrets stand for, as `Provider.read_secrets` has it."""
        by_provider: dict[str, list[str]] = {}
        for reference in references:
            scheme = reference.partition(":")[0]
            if scheme not in SECRETS:
                hint = suggest(scheme, SECRETS, f"one of: {', '.join(SECRETS)}")
                raise ConfigFault(f"there is no store of secrets {scheme!r}", hint)
            by_provider.setdefault(SECRETS[scheme], []).append(reference)
        values: dict[str, str | Fault] = {}
        for name, batch in by_provider.items():
            values |= self._provider(name).read_secrets(batch)
        return values

    def _provider(self, name: str) -> Provider:
        match name:
            case "aws":
                return self.aws
        raise AssertionError(name)

    def locate(self, region: str | None) -> None:
        """The region of this machine's identity, for the providers that are open and those that will be."""
        self._region = self._region or region
        for provider in self._opened:
            provider.locate(region)

    def signing_files(self) -> dict[str, str]:
        """What every open provider's signer needs."""
        return {name: text for provider in self._opened for name, text in provider.signing_files().items()}

    def questions(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """The questions of every open provider."""
        for provider in self._opened:
            yield from provider.questions()
