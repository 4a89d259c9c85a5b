"""What a node would decide, without a node: for any server of a document, on a laptop."""

from collections.abc import Iterator
from pathlib import Path

from rolecall.errors import ConfigFault
from rolecall.fleet.assignment import assign
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import MAX_BYTES, Fleet, parse_fleet
from rolecall.forms.mistakes import suggest
from rolecall.host.roles import read_role, roles_folder
from rolecall.node.providers import Providers
from rolecall.render.generation import Generation
from rolecall.render.parameters import unknown_parameters
from rolecall.render.plan import Plan, make_plan
from rolecall.render.rendering import render
from rolecall.render.role import Role
from rolecall.render.settings import RenderSettings
from rolecall.settings import Access, Aws, load_settings
from rolecall.store import DOCUMENT, Store
from rolecall.trust.envelope import unseal


def read_payload(path: Path) -> bytes:
    """The text of a document on disk, signed or not. Raises ConfigFault."""
    try:
        return unseal(path.read_bytes(), str(path)).payload
    except OSError as error:
        raise ConfigFault(f"cannot read {path}: {error.strerror}") from None


def read_fleet(path: Path) -> Fleet:
    """That document as a type. Raises ConfigFault."""
    return parse_fleet(read_payload(path), str(path))


def store_at(url: str, config: Path | None) -> Store:
    """A store by its URL: with a node's settings, or with what the AWS tools of this user find."""
    if config:
        return Providers(load_settings(config)).open_store(url)
    return Providers(Access(aws=Aws(credentials="boto3"))).open_store(url)


def live_payload(store: Store) -> bytes:
    """The document that a store has now; its signature is for nodes to judge. Raises FetchFault, ConfigFault."""
    return unseal(store.get(DOCUMENT, 2 * MAX_BYTES).data, store.location(DOCUMENT)).payload


def live_fleet(store: Store) -> Fleet:
    """That document as a type."""
    return parse_fleet(live_payload(store), store.location(DOCUMENT))


def platform_of(config: Path) -> str:
    """The platform of this machine's settings, if it has any; else the one that users run."""
    return load_settings(config).platform if config.exists() else "centos"


def generation(fleet: Fleet, server: str, platform: str, templates: Path | None) -> Generation:
    """What a server of a document would become. Secrets are not looked at. Raises ConfigFault."""
    if server not in fleet.servers:
        raise ConfigFault(
            f"the document has no server {server!r}",
            suggest(server, fleet.servers, f"it has: {', '.join(fleet.servers)}"),
        )
    return _generation(fleet, server, platform, templates)


def ignored_parameters(fleet: Fleet, server: str, templates: Path | None) -> list[str]:
    """A sentence for each parameter that the document sets for a server's role, and that role does not have."""
    return unknown_parameters(_role_of(fleet, server, templates), fleet.roles)


def _role_of(fleet: Fleet, server: str, templates: Path | None) -> Role:
    return read_role(roles_folder(str(templates) if templates else None), fleet.servers[server].role)


def _generation(fleet: Fleet, server: str, platform: str, templates: Path | None) -> Generation:
    entry = fleet.servers[server]
    role = _role_of(fleet, server, templates)
    identity = Identity(server=server, instance=entry.instance, address=entry.address)
    return render(role, assign(identity, fleet, entry.role), RenderSettings(platform))


def compare(before: Fleet, after: Fleet, platform: str, templates: Path | None) -> dict[str, Plan | str]:
    """For each server of either document: its plan, or in words why it has none."""
    return dict(_compared(before, after, platform, templates))


def _compared(before: Fleet, after: Fleet, platform: str, templates: Path | None) -> Iterator[tuple[str, Plan | str]]:
    nothing = Generation("", "", "")
    for server in sorted(before.servers.keys() | after.servers.keys()):
        try:
            old = _generation(before, server, platform, templates) if server in before.servers else nothing
            new = _generation(after, server, platform, templates) if server in after.servers else nothing
        except ConfigFault as fault:
            yield server, fault.message
        else:
            yield server, make_plan(old, new)
