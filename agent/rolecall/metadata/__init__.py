"""Who am I? A metadata source answers with an Identity.

To add a source: a module with `identify(where, timeout) -> Identity | None`, its name in KINDS and a `case` here. None
means: this machine is definitely not of that kind, ask the next source; whatever else goes wrong is a FetchFault.
"""

from collections.abc import Iterable

from rolecall.errors import ConfigFault, FetchFault
from rolecall.identity import Identity

KINDS = ("file",)


def identify(sources: Iterable[str], timeout: float) -> Identity:
    """Ask the sources in order. Raises FetchFault if none knows, ConfigFault for a source that there is not."""
    tried = []
    for source in sources:
        identity = _ask(source, timeout)
        if identity is not None:
            return identity
        tried.append(source)
    raise FetchFault(
        f"no identity: {', '.join(tried)} did not tell who this machine is",
        "write /etc/rolecall/identity.json, or name the right sources as 'identity' in agent.toml",
    )


def _ask(source: str, timeout: float) -> Identity | None:
    kind, _, where = source.partition(":")
    match kind:
        case "file":
            from rolecall.metadata import file

            return file.identify(where, timeout)
        case _:
            raise ConfigFault(f"there is no identity source {kind!r}", f"one of: {', '.join(KINDS)}")
