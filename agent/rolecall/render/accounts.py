"""The accounts that a generation asks for, and which of them a machine may make: provenance decides, never a name.

systemd-sysusers writes `product NAME` as the comment of an account. One without it is somebody else's. What exists
already and is the product's stays as it is, also with another number.
"""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from rolecall.forms.mistakes import Mistake, Path, dotted
from rolecall.render.generation import Generation

_MARK = "product "
_SYSTEM_GROUPS = range(100, 1000)  # where versions until 0.1.0 had systemd-sysusers make groups
_HOW = "docs/reference/document.md#accounts-and-their-numbers"


@dataclass(frozen=True)
class Account:
    """A line of a machine's passwd. `local`: the machine's own, and not one of LDAP or the like."""

    name: str
    uid: int
    gid: int
    comment: str
    local: bool = True

    @property
    def product(self) -> str:
        """The product that it was made for; '' for an account that rolecall did not make."""
        return self.comment.removeprefix(_MARK) if self.local and self.comment.startswith(_MARK) else ""


@dataclass(frozen=True)
class Group:
    """A line of a machine's group file."""

    name: str
    gid: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class MachineAccounts:
    """The accounts and groups of a machine, and the numbers that own the folders which are asked for and exist."""

    accounts: tuple[Account, ...]
    groups: tuple[Group, ...]
    owners: Mapping[str, int]

    def account(self, name: str) -> Account | None:
        """An account by its name."""
        return next((account for account in self.accounts if account.name == name), None)

    def group(self, name: str) -> Group | None:
        """A group by its name."""
        return next((group for group in self.groups if group.name == name), None)

    def holder(self, number: int | None) -> str:
        """Who has a number, as an account or as a group; '' for nobody."""
        holders = chain(
            (f"the account {account.name!r}" for account in self.accounts if account.uid == number),
            (f"the group {group.name!r}" for group in self.groups if group.gid == number),
        )
        return next(holders, "")


@dataclass(frozen=True)
class AccountRequest:
    """What a generation asks for one product. A number is None where an earlier version left it to the machine."""

    product: str
    user: str
    uid: int | None
    groups: tuple[tuple[str, int | None], ...]
    folders: tuple[str, ...]  # that are to be the account's and outlive releases


def account_requests(generation: Generation) -> tuple[AccountRequest, ...]:
    """Those of products, from the generation's files for systemd-sysusers and systemd-tmpfiles."""
    rows, folders = _rows(generation, generation.accounts), _rows(generation, generation.folders)
    gids = {row[1]: _number(row[2]) for row in rows if row[:1] == ["g"] and len(row) > 2}
    return tuple(
        AccountRequest(
            product=row[3].removeprefix(_MARK),
            user=row[1],
            uid=_number(row[2]),
            groups=tuple((other[2], gids.get(other[2])) for other in rows if other[:2] == ["m", row[1]]),
            folders=tuple(folder[1].replace("%%", "%") for folder in folders if folder[3:4] == [row[1]]),
        )
        for row in rows
        if row[:1] == ["u"] and len(row) > 3 and row[3].startswith(_MARK)
    )


def _rows(generation: Generation, path: str | None) -> list[list[str]]:
    file = generation.file(path)
    return [_fields(line) for line in (file.text if file else "").splitlines()]


def _fields(line: str) -> list[str]:
    """What systemd's programs would read; of a line that they refuse, nothing."""
    with suppress(ValueError):
        return shlex.split(line, comments=True)
    return []


def _number(field: str) -> int | None:
    return int(field) if field.isdecimal() else None


def refusals(requests: tuple[AccountRequest, ...], machine: MachineAccounts) -> Iterator[Mistake]:
    """Everything that would hand files of somebody else to a product, or a product's files to somebody else."""
    numbers = _Numbers(machine, {})
    for request in requests:
        yield from _account_refusals(request, machine, numbers)
        yield from _folder_refusals(request, machine)
        for group, gid in request.groups:
            yield from _group_refusals(request, group, gid, machine, numbers)


@dataclass(frozen=True)
class _Numbers:
    """Who has which number: on the machine, or once those before in the generation are made."""

    machine: MachineAccounts
    planned: dict[int, str]

    def clashes(self, path: Path, number: int | None, holder: str, hint: str) -> Iterator[Mistake]:
        """The mistake of a number that somebody else has."""
        if number is None:
            return
        other = self.machine.holder(number) or self.planned.setdefault(number, holder)
        if other != holder:
            yield Mistake(path, f"{holder} would have the number {number}, which {other} has on this machine", hint)


def _account_refusals(request: AccountRequest, machine: MachineAccounts, numbers: _Numbers) -> Iterator[Mistake]:
    user, path = request.user, ("products", request.product, "user")
    account = machine.account(user)
    former = next((former for former in machine.accounts if former.product == request.product), None)
    if account and account.product == request.product:
        return
    if account and account.product:
        message = f"{user!r} is the account of the product {account.product!r} on this machine"
        yield Mistake(path, message, f"choose another: the sessions and uploads of {account.product!r} belong to it")
    elif account:
        message = f"{user!r} is an account of this machine that rolecall did not make (number {account.uid})"
        yield Mistake(path, message, "choose a name that no account has")
    elif former:
        message = f"is {user!r}, but the product's files on this machine belong to its account {former.name!r}"
        yield Mistake(path, message, f"set it to {former.name!r}; to rename an account, see {_HOW}")
    elif group := machine.group(user):
        message = f"{user!r} is a group of this machine (number {group.gid}), and would be the account's own"
        yield Mistake(path, message, f"choose another name, or `groupdel {user}` if nobody needs the group")
    else:
        hint = "set 'uid' of the product to a number that is free on every server"
        yield from numbers.clashes((*path[:2], "uid"), request.uid, f"the account {user!r}", hint)


def _folder_refusals(request: AccountRequest, machine: MachineAccounts) -> Iterator[Mistake]:
    """Folders of other numbers, as on a moved disk: systemd-tmpfiles would change their owner, and not their files'."""
    account = machine.account(request.user)
    number = account.uid if account else request.uid
    for folder in request.folders:
        owner = machine.owners.get(folder)
        if number is not None and owner not in (None, 0, number):
            message = f"{folder} belongs to the number {owner}, and the account {request.user!r} has {number}"
            hint = f"if it is this product's: `chown --recursive --from={owner} {number} {folder}`"
            yield Mistake(("products", request.product, "uid"), message, hint)


def _group_refusals(
    request: AccountRequest, name: str, gid: int | None, machine: MachineAccounts, numbers: _Numbers
) -> Iterator[Mistake]:
    path = ("products", request.product, "groups")
    group = machine.group(name)
    if group is None:
        hint = "call the group something else: its number is made from its name"
        yield from numbers.clashes(path, gid, f"the group {name!r}", hint)
    elif group.gid != gid and request.user not in group.members and not _made_earlier(group, machine):
        message = f"{name!r} is a group of this machine that rolecall did not make (number {group.gid})"
        hint = "choose a name that no group has"
        yield Mistake(path, message, f"{hint}; if it is meant, `groupmod --gid {gid} {name}`" if gid else hint)


def _made_earlier(group: Group, machine: MachineAccounts) -> bool:
    """Whether a version that left numbers to the machine made a group: only products' accounts are in it."""
    members = [machine.account(name) for name in group.members]
    owned = any(account.gid == group.gid for account in machine.accounts)
    products_only = bool(members) and all(member and member.product for member in members)
    return group.gid in _SYSTEM_GROUPS and products_only and not owned


def differences(requests: tuple[AccountRequest, ...], machine: MachineAccounts) -> Iterator[str]:
    """What of the products' accounts is not as a new machine would have it, in words. A run leaves it as it is."""
    for request in requests:
        place = dotted(("products", request.product))
        account = machine.account(request.user)
        if account and request.uid not in (None, account.uid):
            yield f"{place}: its account {account.name} has the number {account.uid} here, {request.uid} elsewhere"
        for former in machine.accounts:
            if former.product == request.product and former.name != request.user:
                yield f"{place}: {former.name} was its account, and still owns what it wrote then"
        names = {name for name, _ in request.groups}
        for group in machine.groups:
            if request.user in group.members and group.name not in names:
                yield f"{place}: its account {request.user} is in the group {group.name}, by nobody's document"
        for name, gid in request.groups:
            if (shared := machine.group(name)) and gid not in (None, shared.gid):
                yield f"{place}: the group {name} has the number {shared.gid} here, {gid} elsewhere"
