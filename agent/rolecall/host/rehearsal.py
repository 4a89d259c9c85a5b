"""Rehearsal: every validator reads the whole future state, unmodified, before it is live.

In a private mount namespace (unshare(1), mount_namespaces(7)) the new generation is bind-mounted over the folder that
`current` points to. Whatever a daemon would read through `current` is then the new generation, for the validator only.
"""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import programs
from rolecall.render.parts import ValidatorUse

_MOUNT = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
# An ordinary user mounts as the root of a user namespace, and is itself again in a second one inside it.
_MOUNT_AS_USER = 'mount --bind "$1" "$2" && shift 2 && exec unshare --user --map-user="$1" --map-group="$2" -- "${@:3}"'


def rehearse(validators: Iterable[ValidatorUse], new: Path, live: Path) -> None:
    """Run the validators on `new` in the place of `live`. Raises HostFault with every one that refuses."""
    _all(validators, lambda argv: _staged(new, live) + argv)


def validate_live(validators: Iterable[ValidatorUse]) -> None:
    """Run the validators on what `current` points to. Raises HostFault with every one that refuses."""
    _all(validators, lambda argv: argv)


def _all(validators: Iterable[ValidatorUse], wrap: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
    refusals = [words for one in validators if (words := _refusal(one, wrap(one.argv)))]
    if refusals:
        raise HostFault(
            "the new configuration is refused by " + "\n".join(refusals),
            "correct the document or the release; nothing that serves was changed",
        )


def _refusal(validator: ValidatorUse, argv: tuple[str, ...]) -> str:
    done = programs.run(argv, validator.timeout)
    return "" if done.ok else f"{validator.name} ({' '.join(validator.argv)}):\n{done.words}"


def _staged(new: Path, live: Path) -> tuple[str, ...]:
    if os.geteuid() == 0:
        return ("unshare", "--mount", "--", "sh", "-c", _MOUNT, "rehearsal", str(new), str(live))
    return (
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--",
        "bash",
        "-c",
        _MOUNT_AS_USER,
        "rehearsal",
        str(new),
        str(live),
        str(os.getuid()),
        str(os.getgid()),
    )


@functools.cache
def possible(folder: Path) -> bool:
    """Whether this machine lets us make such namespaces: tried, not guessed."""
    try:
        return programs.run((*_staged(folder, folder), "true"), 10).ok
    except HostFault:
        return False
