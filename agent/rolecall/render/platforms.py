"""The names of a platform: of `[platform.any]`, then `[platform.centos]`, then `[platform.centos-mysql]`."""

from collections.abc import Mapping
from typing import TypeAlias

Names: TypeAlias = Mapping[str, str | int]
Tables: TypeAlias = Mapping[str, Names]  # platform → its names, as they stand in role.toml

ANY = "any"


def platforms(tables: Tables) -> list[str]:
    """The platforms and variants that a role has, sorted; `any` is none."""
    return sorted(tables.keys() - {ANY})


def names_on(tables: Tables, platform: str) -> dict[str, str | int] | None:
    """The names of a platform, if the role has it. `centos-mysql` has those of `centos`, and its own over them.

    A role that has no variants takes each for the platform itself: one word serves all roles of a fleet.
    """
    own, base = platforms(tables), platform.partition("-")[0]
    has_variants = any(name.startswith(f"{base}-") for name in own)
    if platform not in own and (base not in own or has_variants):
        return None
    return {**tables.get(ANY, {}), **tables.get(base, {}), **tables.get(platform, {})}


def joined_tables(own: Tables, included: Tables) -> dict[str, dict[str, str | int]]:
    """The tables of a role with those of a role that it includes, for the platforms that it has itself.

    Where both have a name, the role's own counts, also its name for any platform before the other's for one.
    """
    shared = own.get(ANY, {})
    tables = {ANY: {**included.get(ANY, {}), **shared}}
    for platform in platforms(own):
        inherited = {name: value for name, value in included.get(platform, {}).items() if name not in shared}
        tables[platform] = {**inherited, **own[platform]}
    return tables
