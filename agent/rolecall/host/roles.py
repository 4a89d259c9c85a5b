"""Where the roles are, and how one is read."""

import sys
from pathlib import Path

from rolecall.errors import ConfigFault, fault_of
from rolecall.forms.mistakes import suggest
from rolecall.render.role import Role, checked, parse_table, with_included

_PACKAGED = "/usr/lib/rolecall/site/rolecall"  # where the deb and the RPM have the agent, whichever Python runs it


def roles_folder(named: str | None) -> Path:
    """The folder that agent.toml names; else the checkout's; else the one installed with the package."""
    if named:
        return Path(named)
    package = Path(__file__).parents[1]
    checkout, packaged = package.parents[1] / "templates", Path("/usr/share/rolecall/templates")
    if checkout.is_dir():
        return checkout
    return packaged if package == Path(_PACKAGED) else Path(sys.prefix) / "share/rolecall/templates"


def role_names(folder: Path) -> list[str]:
    """The names of the roles in a folder, sorted."""
    return sorted(path.parent.name for path in folder.glob("*/role.toml"))


def read_role(folder: Path, name: str, includers: tuple[str, ...] = ()) -> Role:
    """The role `name` from a folder of roles, with those that it includes. Raises ConfigFault.

    `includers` are the roles that led here; one that includes itself by way of others is refused.
    """
    path = folder / name / "role.toml"
    if name in includers:
        raise ConfigFault(f"the role {name!r} in {folder} includes itself: {' → '.join((*includers, name))}")
    try:
        text = path.read_text("utf-8")
        templates = {template.name: template.read_text("utf-8") for template in sorted(path.parent.glob("*.j2"))}
    except FileNotFoundError:
        names = role_names(folder)
        hint = suggest(name, names, f"available roles: {', '.join(names) or 'none'}")
        raise ConfigFault(f"no role {name!r} in {folder}", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise fault_of(error, f"cannot read the role {name!r} in {folder}: {error}", "", ConfigFault) from None
    table = parse_table(text, str(path))
    for other in table.include:
        included = read_role(folder, other, (*includers, name))
        templates |= {
            source if "/" in source else f"{other}/{source}": template
            for source, template in included.templates.items()
        }
        table = with_included(table, included)
    return Role(name, checked(table, text, str(path), templates), templates)


def included_roles(folder: Path, name: str) -> tuple[str, ...]:
    """The names of the roles that a role includes; none where it cannot be read."""
    try:
        return read_role(folder, name).table.include
    except ConfigFault:
        return ()
