"""This machine and everything that a run works with."""

from dataclasses import dataclass

from rolecall import metadata, readiness, store
from rolecall.errors import ConfigFault
from rolecall.host.generations import Generations
from rolecall.host.past import Notes, Reports
from rolecall.host.releases import Releases
from rolecall.host.units import Loaded, ServiceManager, service_manager
from rolecall.role import Place
from rolecall.settings import Settings
from rolecall.store import Store
from rolecall.store.chain import Chain


@dataclass(frozen=True)
class Node:
    """This machine and everything that a run works with."""

    settings: Settings
    sources: tuple[str, ...]  # of identity
    store: Store
    reporters: tuple[str, ...]
    generations: Generations
    releases: Releases
    manager: ServiceManager
    loaded: Loaded
    reports: Reports
    notes: Notes
    passed_over: tuple[str, ...]  # what agent.toml names and this version does not have, in words

    @property
    def place(self) -> Place:
        """The settings' part in what is rendered."""
        paths, settings = self.settings.paths, self.settings
        accounts = settings.accounts != "none"
        return Place(settings.platform, paths.state, paths.run, paths.root, accounts, settings.names)


def open_node(settings: Settings) -> Node:
    """Open everything that the settings name.

    The lists of agent.toml are lists of preference: a kind that this version does not have is passed over and said
    in every report, as long as one is left. Raises ConfigFault where none is.
    """
    notes: list[str] = []
    sources = _known("identity", settings.identity, metadata.KINDS, notes)
    stores = [store.open_store(url) for url in _known("store", settings.store, store.KINDS, notes)]
    reporters = _known("readiness", settings.readiness, readiness.KINDS, notes) if settings.readiness else ()
    return Node(
        settings,
        sources,
        Chain(stores),
        reporters,
        Generations(settings.state),
        Releases(settings.state),
        service_manager(settings.service_manager),
        Loaded(settings.run),
        Reports(settings.state),
        Notes(settings.state),
        tuple(notes),
    )


def _known(key: str, named: tuple[str, ...], kinds: tuple[str, ...], notes: list[str]) -> tuple[str, ...]:
    kept = tuple(one for one in named if one.partition(":")[0] in kinds)
    if not kept:
        raise ConfigFault(
            f"agent.toml: {key} = {list(named)} names nothing that this version has", f"it has: {', '.join(kinds)}"
        )
    notes.extend(
        f"{key} {one!r} is passed over: this version has {', '.join(kinds)}" for one in named if one not in kept
    )
    return kept
