"""This machine and everything that a run works with."""

from dataclasses import dataclass

from rolecall import readiness
from rolecall.errors import ConfigFault, FetchFault
from rolecall.host import hardware
from rolecall.host.generations import Generations
from rolecall.host.releases import Releases
from rolecall.host.secrets import Secrets
from rolecall.host.units import LoadedDigests, ServiceManager, service_manager
from rolecall.node import providers
from rolecall.node.notes import InstalledRole, Notes, identity_in_this_boot
from rolecall.node.providers import Providers
from rolecall.node.reports import Reports
from rolecall.render.settings import RenderPaths, RenderSettings
from rolecall.settings import Settings
from rolecall.store.chain import Chain

BASELINE = "baseline"  # the role of an image that has none
BAKE = "/usr/share/rolecall/image-build/bake"  # what installs it: the very script that bakes the role elsewhere


@dataclass(frozen=True)
class Node:
    """This machine and everything that a run works with."""

    settings: Settings
    sources: tuple[str, ...]  # of identity
    providers: Providers
    store: Chain
    reporters: tuple[str, ...]
    generations: Generations
    releases: Releases
    secrets: Secrets
    manager: ServiceManager
    loaded: LoadedDigests
    reports: Reports
    notes: Notes
    run_notes: Notes  # these a reboot takes away
    passed_over: tuple[str, ...]  # what agent.toml names and this version does not have, in words

    @property
    def render_settings(self) -> RenderSettings:
        """The part of the settings, and of this machine, that reaches what is rendered."""
        settings, paths = self.settings, self.settings.paths
        return RenderSettings(
            platform=settings.platform,
            paths=RenderPaths(paths.state, paths.run, paths.root),
            accounts=settings.accounts != "none",
            names=settings.names,
            hardware=hardware.hardware(),
        )


def open_node(settings: Settings) -> Node:
    """Open everything that the settings name.

    The lists of agent.toml are lists of preference: a kind that this version does not have is passed over and said
    in every report, as long as one is left. Raises ConfigFault where none is.
    """
    settings = with_role(settings)
    passed_over: list[str] = []
    notes = Notes(settings.state)
    sources = _supported("identity", settings.identity, providers.SOURCES, passed_over)
    run_notes = Notes(settings.run)
    identity = identity_in_this_boot(run_notes)
    opened = Providers(settings, settings.run)
    opened.locate(identity.region if identity else None)
    stores = [opened.open_store(url) for url in _supported("store", settings.store, providers.STORES, passed_over)]
    reporters = _supported("readiness", settings.readiness, readiness.KINDS, passed_over) if settings.readiness else ()
    return Node(
        settings,
        sources,
        opened,
        Chain(stores),
        reporters,
        Generations(settings.state),
        Releases(settings.state),
        Secrets(settings.state, opened.read_secrets, keep=settings.secrets.keep),
        service_manager(settings.service_manager, settings.run),
        LoadedDigests(settings.run),
        Reports(settings.state, notes),
        notes,
        run_notes,
        tuple(passed_over),
    )


def with_role(settings: Settings) -> Settings:
    """The settings of a baseline image with the role that it has installed, if it has one by now."""
    if settings.role != BASELINE:
        return settings
    return settings.model_copy(update={"role": Notes(settings.state).read(InstalledRole).role or BASELINE})


def open_ready_node(settings: Settings) -> Node:
    """The same, of a machine that has its role. Raises FetchFault on a baseline image that has not installed one."""
    node = open_node(settings)
    if node.settings.role == BASELINE:
        raise FetchFault("this baseline image has not installed its role yet", "why: `journalctl -u rolecall-role`")
    return node


def _supported(key: str, names: tuple[str, ...], kinds: tuple[str, ...], notes: list[str]) -> tuple[str, ...]:
    supported = tuple(name for name in names if name.partition(":")[0] in kinds)
    available = ", ".join(kinds)
    if not supported:
        raise ConfigFault(
            f"agent.toml: {key} = {list(names)} names nothing that this version has", f"it has: {available}"
        )
    notes += [f"{key} {name!r} is passed over: this version has {available}" for name in names if name not in supported]
    return supported
