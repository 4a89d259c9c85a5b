"""Rehearsal: every validator reads the whole future state, unmodified, before it is live.

In a private mount namespace (unshare(1), mount_namespaces(7)) the new generation is bind-mounted over the folder that
`current` points to. Whatever a daemon would read through `current` is then the new generation, for the validator only.
"""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from rolecall.errors import HostFault, MachineFault
from rolecall.host import programs
from rolecall.render.contents import Validator

Argv: TypeAlias = tuple[str, ...]

_MOUNT = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
# An ordinary user mounts as the root of a user namespace, and is itself again in a second one inside it.
_MOUNT_AS_USER = 'mount --bind "$1" "$2" && shift 2 && exec unshare --user --map-user="$1" --map-group="$2" -- "${@:3}"'


def rehearse(validators: Iterable[Validator], new: Path, live: Path) -> None:
    """Run the validators on `new` in the place of `live`. Raises HostFault with every one that refuses."""
    _validate(validators, lambda argv: _namespace(new, live) + argv)


def validate_live(validators: Iterable[Validator]) -> None:
    """Run the validators on what `current` points to. Raises HostFault with every one that refuses."""
    _validate(validators, lambda argv: argv)


@functools.cache
def possible(folder: Path) -> bool:
    """Whether this machine lets the agent make such namespaces: tried, not guessed."""
    try:
        return programs.run((*_namespace(folder, folder), "true"), 10).ok
    except HostFault:
        return False


def _validate(validators: Iterable[Validator], wrap: Callable[[Argv], Argv]) -> None:
    refusals = []
    for validator in validators:
        result = programs.run(wrap(validator.argv), validator.timeout)
        if not result.ok:
            refusals.append(result.fault(f"{validator.name} ({' '.join(validator.argv)}):\n{result.tail}"))
    if refusals:
        machines = next((fault for fault in refusals if isinstance(fault, MachineFault)), None)
        words = "the new configuration is refused by " + "\n".join(fault.message for fault in refusals)
        if machines:
            raise MachineFault(words, machines.hint)
        raise HostFault(words, "correct the document or the release; nothing that serves was changed")


def _namespace(new: Path, live: Path) -> Argv:
    """The command, before a validator's own, that runs it where `new` is mounted over `live`."""
    mounts = ("rehearsal", str(new), str(live))
    if os.geteuid() == 0:
        return ("unshare", "--mount", "--", "sh", "-c", _MOUNT, *mounts)
    user = (str(os.getuid()), str(os.getgid()))
    return ("unshare", "--user", "--map-root-user", "--mount", "--", "bash", "-c", _MOUNT_AS_USER, *mounts, *user)
