"""This machine and everything that a run works with."""

from dataclasses import dataclass

from rolecall.host.generations import Generations
from rolecall.host.past import Notes, Reports
from rolecall.host.releases import Releases
from rolecall.host.units import Loaded, ServiceManager, service_manager
from rolecall.render import Place
from rolecall.settings import Settings
from rolecall.store import Store, open_store
from rolecall.store.chain import Chain


@dataclass(frozen=True)
class Node:
    """This machine and everything that a run works with."""

    settings: Settings
    store: Store
    generations: Generations
    releases: Releases
    manager: ServiceManager
    loaded: Loaded
    reports: Reports
    notes: Notes

    @property
    def place(self) -> Place:
        """The settings' part in what is rendered."""
        paths, settings = self.settings.paths, self.settings
        accounts = settings.accounts != "none"
        return Place(settings.platform, paths.state, paths.run, paths.root, accounts, settings.names)


def open_node(settings: Settings) -> Node:
    """Open everything that the settings name. Raises ConfigFault."""
    state = settings.state
    return Node(
        settings, Chain([open_store(url) for url in settings.store]), Generations(state), Releases(state),
        service_manager(settings.service_manager), Loaded(settings.run), Reports(state), Notes(state),
    )  # fmt: skip
