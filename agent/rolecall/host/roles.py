"""Where the roles are, and how one is read."""

import functools
import sys
from pathlib import Path

from rolecall.errors import ConfigFault
from rolecall.forms.mistakes import suggest
from rolecall.render.role import Role, checked, joined, named, parse_table

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


def read_role(folder: Path, name: str) -> Role:
    """The role `name` from a folder of roles, with those that it includes. Raises ConfigFault."""
    path = folder / name / "role.toml"
    try:
        text = path.read_text("utf-8")
        templates = {template.name: template.read_text("utf-8") for template in sorted(path.parent.glob("*.j2"))}
    except FileNotFoundError:
        known = sorted(role.parent.name for role in folder.glob("*/role.toml"))
        hint = suggest(name, known, f"roles there: {', '.join(known) or 'none'}")
        raise ConfigFault(f"no role {name!r} in {folder}", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFault(f"cannot read the role {name!r} in {folder}: {error}") from None
    table = parse_table(text, str(path))
    included = [read_role(folder, other) for other in table.include if other != name]
    for role in included:
        templates |= {
            source if "/" in source else f"{role.name}/{source}": template
            for source, template in role.templates.items()
        }
    table = functools.reduce(joined, (named(role) for role in included), table)
    return Role(name, checked(table, text, str(path), templates), templates)


def included_roles(folder: Path, name: str) -> tuple[str, ...]:
    """The names of the roles that a role includes; none where it cannot be read."""
    try:
        return read_role(folder, name).table.include
    except ConfigFault:
        return ()
