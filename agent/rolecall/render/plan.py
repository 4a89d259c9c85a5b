"""What would change: one generation against another, as data and as a diff. Secrets are names here, never values."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields

from rolecall.forms.quantities import count
from rolecall.render.contents import DeployedRelease
from rolecall.render.generation import Generation, ManagedFile, by_path, shown


@dataclass(frozen=True)
class Change:
    """A file, release or unit that would change."""

    action: str  # add | change | remove | deploy | withdraw | reload | restart | start | stop | become | leave
    path: str
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything that would change between two generations."""

    old: Generation
    new: Generation
    changes: tuple[Change, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return self.old.id == self.new.id

    @property
    def count(self) -> str:
        """`1 change`, `19 changes`."""
        return count(len(self.changes), "change")

    def diff(self) -> Iterator[str]:
        """A unified diff of all files, line by line."""
        before, after = by_path(self.old.files), by_path(self.new.files)
        for path in sorted(before.keys() | after.keys()):
            old, new = before.get(path), after.get(path)
            if old != new:
                yield from _file_diff(path, old, new)


def make_plan(old: Generation, new: Generation) -> Plan:
    """What has to change for a node with the old generation to have the new one."""
    comparisons = (_files, _releases, _units, _duties, _rules)
    return Plan(old, new, tuple(change for compare in comparisons for change in compare(old, new)))


def _files(old: Generation, new: Generation) -> Iterator[Change]:
    before, after = by_path(old.files), by_path(new.files)
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            yield Change("add", path)
        elif path not in after:
            yield Change("remove", path)
        elif before[path] != after[path] or _secrets_differ(before[path], old, new):
            yield Change("change", path, _file_change(before[path], after[path]))


def _file_change(old: ManagedFile, new: ManagedFile) -> str:
    """What is not seen in the lines of a diff."""
    if old == new:
        return "a secret has a new value"
    if rights := _rights_change(old, new):
        return rights
    return "other units read it" if old.text == new.text else ""


def _rights_change(old: ManagedFile, new: ManagedFile) -> str:
    before, after = (f"{file.mode:04o} {file.owner}:{file.group}" for file in (old, new))
    return f"{before} → {after}" if before != after else ""


def _secrets_differ(file: ManagedFile, old: Generation, new: Generation) -> bool:
    return any(old.secrets.get(key) != new.secrets.get(key) for key in file.secrets)


def _releases(old: Generation, new: Generation) -> Iterator[Change]:
    before, after = ({release.product: release for release in generation.releases} for generation in (old, new))
    for product in sorted(before.keys() | after.keys()):
        if product not in after:
            yield Change("withdraw", product, f"release {before[product].version}")
        elif product not in before:
            yield Change("deploy", product, f"release {after[product].version}")
        elif before[product] != after[product]:
            yield Change("deploy", product, _release_change(before[product], after[product]))


def _release_change(old: DeployedRelease, new: DeployedRelease) -> str:
    if old.version != new.version:
        return f"release {old.version} → {new.version}" + (", the same archive" if old.sha256 == new.sha256 else "")
    if old.sha256 != new.sha256:
        return f"release {new.version}: same version, other archive (sha256 {old.sha256[:8]}… → {new.sha256[:8]}…)"
    names = [item.name for item in fields(old) if getattr(old, item.name) != getattr(new, item.name)]
    return f"release {new.version}: same archive, other {', '.join(names).replace('_', ' ')}"


def _units(old: Generation, new: Generation) -> Iterator[Change]:
    before = {unit.name: unit.digest for unit in old.units}
    for unit in new.units:
        if before.get(unit.name) != unit.digest:
            yield Change(unit.action, unit.name, unit.service)
    names = {unit.name for unit in new.units}
    for unit in old.units:
        if unit.instance and unit.name not in names:
            yield Change("stop", unit.name, unit.service)


def _duties(old: Generation, new: Generation) -> Iterator[Change]:
    before = old.replication.duties if old.replication else {}
    after = new.replication.duties if new.replication else {}
    for database, duty in after.items():
        if before.get(database) != duty:
            yield Change("become", database, f"{before[database]} → {duty}" if database in before else duty)
    yield from (Change("leave", database, duty) for database, duty in before.items() if database not in after)


def _rules(old: Generation, new: Generation) -> Iterator[Change]:
    """What is tested and asked, which is a part of a generation too."""
    for name, before, after in (
        ("self-tests", old.checks, new.checks),
        ("validators", old.validators, new.validators),
        ("attachments", old.attachments, new.attachments),
    ):
        if before and before != after:
            yield Change("change", name)


def _file_diff(path: str, old: ManagedFile | None, new: ManagedFile | None) -> Iterator[str]:
    def lines(file: ManagedFile | None) -> list[str]:
        return shown(file.text).splitlines() if file else []

    yield from difflib.unified_diff(
        lines(old),
        lines(new),
        f"a/{path}" if old else "/dev/null",
        f"b/{path}" if new else "/dev/null",
        lineterm="",
    )
    if old and new and (rights := _rights_change(old, new)):
        yield f"# {path}: {rights}"
