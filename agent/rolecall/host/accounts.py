"""Users, groups and the folders that outlive releases, made by systemd's own programs.

systemd-sysusers and systemd-tmpfiles only add what is missing, so that running them again does no harm. But
systemd-sysusers takes an account for the one that is meant by its name alone, and another number where one is taken:
so it is not run before all names and numbers are free or the products' own.
"""

import grp
import pwd
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rolecall.errors import HostFault
from rolecall.forms.mistakes import Mistake, Mistakes
from rolecall.host import programs
from rolecall.host.files import naming
from rolecall.render.accounts import (
    Account,
    AccountRequest,
    Group,
    MachineAccounts,
    account_requests,
    differences,
    refusals,
)
from rolecall.render.generation import Generation

T = TypeVar("T")


def check_accounts(generation: Generation, root: str, *, foreign_state: bool = False) -> None:
    """Raises Mistakes for what `account_mistakes` returns."""
    if mistakes := account_mistakes(generation, root, foreign_state=foreign_state):
        raise Mistakes("the fleet document, on this machine,", mistakes)


def account_mistakes(generation: Generation, root: str, *, foreign_state: bool = False) -> list[Mistake]:
    """Every account that this machine may not make, or may not give to a product: its path begins `products`, NAME.

    `foreign_state`: the folders are another instance's, and are set aside before anything is made. Raises HostFault.
    """
    requests = account_requests(generation)
    if foreign_state:
        requests = tuple(replace(request, folders=()) for request in requests)
    return list(refusals(requests, _machine_accounts(root, requests))) if requests else []


def account_differences(generation: Generation, root: str) -> list[str]:
    """Which products' accounts are other ones than a new machine would have, in words."""
    requests = account_requests(generation)
    return list(differences(requests, _machine_accounts(root, requests))) if requests else []


def create_accounts(generation: Generation, root: str) -> None:
    """Create the accounts that a generation names, before any file is given to them. Raises HostFault, Mistakes."""
    file = generation.file(generation.accounts)
    lines = tuple(line for line in (file.text if file else "").splitlines() if line and not line.startswith("#"))
    if not lines:
        return
    check_accounts(generation, root)
    requests = account_requests(generation)
    earlier = _machine_accounts(root, requests)
    prefix = (f"--root={root}",) if root else ()
    programs.run_checked(("systemd-sysusers", *prefix, "--inline", *lines))
    _check_created(requests, earlier, _machine_accounts(root, requests))


def _check_created(requests: tuple[AccountRequest, ...], earlier: MachineAccounts, now: MachineAccounts) -> None:
    """Raises HostFault where systemd-sysusers found a name or number taken, which nobody had a moment ago."""
    for request in requests:
        account = now.account(request.user)
        if account is None or account.product != request.product:
            raise HostFault(f"systemd-sysusers did not make the account {request.user!r} of {request.product!r}")
        if not earlier.account(request.user):
            _check_number("user", request.user, account.uid, request.uid)
        for name, gid in request.groups:
            group = now.group(name)
            if group and not earlier.group(name):
                _check_number("group", name, group.gid, gid)


def _check_number(kind: str, name: str, number: int, wanted: int | None) -> None:
    if wanted not in (None, number):
        raise HostFault(
            f"systemd-sysusers gave the {kind} {name!r} the number {number}, not {wanted}",
            f"see who has {wanted}: `getent passwd {wanted}; getent group {wanted}`; then `{kind}del {name}`, and the "
            "next refresh makes it anew",
        )


def account_of(product: str, root: str) -> Account | None:
    """The account of a product on this machine, known by where it came from, or None. Raises HostFault."""
    accounts = _machine_accounts(root, ()).accounts
    return next((account for account in accounts if account.product == product), None)


def _machine_accounts(root: str, requests: tuple[AccountRequest, ...]) -> MachineAccounts:
    """The machine's own files; without a root also whatever else the machine knows of the requests (LDAP, sssd)."""
    passwd, group = account_files(root)
    accounts = [
        Account(row[0], int(row[2]), int(row[3]), row[4])
        for row in _rows(passwd)
        if len(row) > 4 and row[2].isdecimal() and row[3].isdecimal()
    ]
    groups = [
        Group(row[0], int(row[2]), tuple(filter(None, row[3].split(","))))
        for row in _rows(group)
        if len(row) > 3 and row[2].isdecimal()
    ]
    if not root:
        accounts += _known_accounts(requests, {account.name for account in accounts})
        groups += _known_groups(requests, {group.name for group in groups})
    return MachineAccounts(tuple(accounts), tuple(groups), dict(_owners(requests)))


def account_files(root: str) -> tuple[str, str]:
    """The machine's own passwd and group: while neither moves, there is no other account than before."""
    return f"{root}/etc/passwd", f"{root}/etc/group"


def _rows(path: str) -> list[list[str]]:
    with naming(path, "read"), suppress(FileNotFoundError):
        return [line.split(":") for line in Path(path).read_text("utf-8", "surrogateescape").splitlines()]
    return []


def _owners(requests: tuple[AccountRequest, ...]) -> Iterator[tuple[str, int]]:
    for path in (Path(folder) for request in requests for folder in request.folders):
        with naming(path, "look at"), suppress(FileNotFoundError, NotADirectoryError):
            yield str(path), path.lstat().st_uid


def _known_accounts(requests: tuple[AccountRequest, ...], own: set[str]) -> Iterator[Account]:
    for request in requests:
        for entry in (_asked(pwd.getpwnam, request.user), _asked(pwd.getpwuid, request.uid)):
            if entry and entry.pw_name not in own:
                yield Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_gecos, local=False)


def _known_groups(requests: tuple[AccountRequest, ...], own: set[str]) -> Iterator[Group]:
    for request in requests:
        for name, number in ((request.user, request.uid), *request.groups):
            for entry in (_asked(grp.getgrnam, name), _asked(grp.getgrgid, number)):
                if entry and entry.gr_name not in own:
                    yield Group(entry.gr_name, entry.gr_gid, tuple(entry.gr_mem))


def _asked(question: Callable[..., T], key: str | int | None) -> T | None:
    with suppress(KeyError):
        return question(key) if key is not None else None
    return None


def create_persistent_folders(generation: Generation) -> None:
    """Create the folders that outlive releases, and those that releases are unpacked in. Raises HostFault."""
    if file := generation.file(generation.folders):
        programs.run_checked(("systemd-tmpfiles", "--create", "-"), stdin=generation.with_tags(file.text).encode())
