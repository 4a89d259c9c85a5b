"""Who am I? A metadata source answers with an Identity.

To add a source: a module with a function that takes what it needs and returns `Identity | None`, its name in KINDS and
a `case` here. None means: this machine is definitely not of that kind, ask the next source; whatever else goes wrong is
a FetchFault. A source that waits for a service asks again by itself until `until`; the others answer at once.
"""

from collections.abc import Iterable

from rolecall.aws.imds import Imds
from rolecall.errors import ConfigFault, FetchFault
from rolecall.fleet.identity import Identity

KINDS = ("ec2", "file")


def identify(sources: Iterable[str], imds: Imds, until: float, root: str = "") -> Identity:
    """Ask the sources in order. Raises FetchFault if none knows, ConfigFault for a source that there is not.

    `until`: a monotonic time. `root`: the folder below which this machine lies.
    """
    tried = []
    for source in sources:
        identity = _ask(source, imds, until, root)
        if identity is not None:
            return identity
        tried.append(source)
    raise FetchFault(
        f"no identity: {', '.join(tried)} did not tell who this machine is",
        "write /etc/rolecall/identity.json, or name the right sources as 'identity' in agent.toml",
        "no-identity",
    )


def _ask(source: str, imds: Imds, until: float, root: str) -> Identity | None:
    kind, _, where = source.partition(":")
    match kind:
        case "ec2":
            from rolecall.metadata import ec2

            return ec2.identify(imds, until, root)
        case "file":
            from rolecall.metadata import file

            return file.identify(where)
        case _:
            raise ConfigFault(f"there is no identity source {kind!r}", f"one of: {', '.join(KINDS)}")
