"""Who am I? A metadata source answers with an Identity.

To add a source: a module with a function that takes what it needs and returns `Identity | None`, its name in SOURCES
and a `case` in `Providers.identify`, both in `node/providers.py`. None means: this machine is definitely not of that
kind, ask the next source; whatever else goes wrong is a FetchFault. A source that waits for a service asks again by
itself until `until`; the others answer at once. A source of a cloud lies in that provider's folder, as `aws/ec2.py`.
"""

from collections.abc import Callable, Iterable

from rolecall.errors import FetchFault
from rolecall.fleet.identity import Identity


def identify(
    sources: Iterable[str], ask: Callable[[str, float, str], Identity | None], until: float, root: str = ""
) -> Identity:
    """Ask the sources in order: the first answer counts. Raises FetchFault if none of them knows.

    `ask` is `Providers.identify`. `until`: a monotonic time. `root`: the folder below which this machine lies.
    """
    silent = []
    for source in sources:
        identity = ask(source, until, root)
        if identity is not None:
            return identity
        silent.append(source)
    raise FetchFault(
        f"no identity: {', '.join(silent)} did not say who this machine is",
        "write /etc/rolecall/identity.json, or name the right sources as 'identity' in agent.toml",
        "no-identity",
    )
