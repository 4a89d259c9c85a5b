"""Everything rendered for one assignment, as plain data: it stands in `generation.json`.

A text holds two kinds of tokens, made of control characters that no value of a document can contain:
a secret (its name and the quoting it needs), filled in only when the file is written, so that no secret is ever in a
plan, a diff or an id; and a tag (the digest of the unit's configuration, or of the generation, that the text itself is
part of), left out of hashing as Nix leaves self-references out of the hash of a store path.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from rolecall.errors import ConfigFault, Fault
from rolecall.fleet.check import Check
from rolecall.forms.mistakes import Mistake
from rolecall.forms.quoting import FORMATS, read_back
from rolecall.forms.stored import json_object, typed
from rolecall.render.contents import Attachment, DeployedRelease, Replication, Unit, Validator

FORMAT = 1
ITSELF = "this generation"  # in the place of a unit's name, which has no space: the tag is the generation's own
_SECRET = re.compile("\x01([^\x01|]*)\\|([a-z_]+)\x01")
_TAG = re.compile("\x02([^\x02]*)\x02")


def secret_token(key: str, form: str) -> str:
    """Stands for the secret `key`, to be quoted as `form` asks."""
    return f"\x01{key}|{form}\x01"


def tag_token(unit: str) -> str:
    """Stands for the tag of a unit's configuration, or of the generation (`ITSELF`)."""
    return f"\x02{unit}\x02"


@dataclass(frozen=True)
class ManagedFile:
    """A file of a generation. `text` has tokens in it."""

    path: str
    text: str
    mode: int
    owner: str
    group: str
    units: tuple[str, ...]

    @property
    def secrets(self) -> frozenset[str]:
        """The keys of the secrets that it holds."""
        return frozenset(key for key, _ in _SECRET.findall(self.text))


@dataclass(frozen=True)
class Generation:
    """A finished decision: what the node is to be, byte by byte but for the secrets."""

    role: str
    platform: str
    server: str
    accounts: str | None = None
    folders: str | None = None
    files: tuple[ManagedFile, ...] = ()
    releases: tuple[DeployedRelease, ...] = ()
    units: tuple[Unit, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    validators: tuple[Validator, ...] = ()
    checks: tuple[Check, ...] = ()
    replication: Replication | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)  # key → fingerprint of its value
    id: str = ""

    @property
    def empty(self) -> bool:
        """Whether this is what a node has before its first run: nothing."""
        return not self.role

    @property
    def versions(self) -> dict[str, str]:
        """The version of each product's release."""
        return {release.product: release.version for release in self.releases}

    @property
    def unstaged(self) -> frozenset[str]:
        """The paths of files that are never written to disk: the agent itself hands their text to a program."""
        return frozenset({self.replication.accounts} if self.replication else ())

    @property
    def staged_files(self) -> tuple[ManagedFile, ...]:
        """The files that daemons and people find on disk."""
        return tuple(file for file in self.files if file.path not in self.unstaged)

    def file(self, path: str | None) -> ManagedFile | None:
        """The file at a path of the generation."""
        return next((file for file in self.files if file.path == path), None)

    def text_of(self, file: ManagedFile, values: Mapping[str, str]) -> str:
        """A file's final text. Raises ConfigFault for a secret that its format cannot express."""

        def value(match: re.Match[str]) -> str:
            try:
                return FORMATS[match[2]](values[match[1]])
            except ValueError:
                raise _unwritable(match[1], match[2], file) from None

        return _SECRET.sub(value, self.with_tags(file.text))

    def secret_texts(self, file: ManagedFile, content: str) -> frozenset[str]:
        """What stands in the places of a file's secrets, without its quotes; nothing where somebody has edited it."""
        constants = _SECRET.split(self.with_tags(file.text))[::3]
        match = re.fullmatch("(.*?)".join(map(re.escape, constants)), content)
        return frozenset(text.strip("\"'") for text in match.groups()) if match else frozenset()

    def lines_as_rendered(self, file: ManagedFile, content: str) -> list[str]:
        """The lines of a content on disk; a line with secrets in their places is as in the text, with tokens."""
        rendered = self.with_tags(file.text).split("\n")
        with_secrets = [line for line in rendered if _SECRET.search(line)]
        patterns = {re.compile("(?:.*?)".join(map(re.escape, _SECRET.split(line)[::3]))): line for line in with_secrets}

        def as_rendered(line: str) -> str:
            return next((known for pattern, known in patterns.items() if pattern.fullmatch(line)), line)

        return [as_rendered(line) for line in content.split("\n")]

    def secret_values(self, file: ManagedFile, content: str) -> dict[str, str]:
        """The values of a file's secrets by their keys, as far as its content is what was written."""
        constants = _SECRET.split(self.with_tags(file.text))[::3]
        match = re.fullmatch("(.*?)".join(map(re.escape, constants)), content)
        values = {}
        for (key, form), text in zip(_SECRET.findall(file.text), match.groups() if match else (), strict=False):
            with suppress(ValueError):
                values[key] = read_back(form, text)
        return values

    def unwritable(self, values: Mapping[str, str]) -> dict[str, Fault]:
        """The keys of secrets whose values cannot be written to a file that needs them, each with the reason."""
        faults: dict[str, Fault] = {}
        for file in self.files:
            for key, form in _SECRET.findall(file.text):
                try:
                    FORMATS[form](values[key])
                except ValueError:
                    faults[key] = _unwritable(key, form, file)
        return faults

    def mark_of(self, file: ManagedFile) -> str:
        """Tells a file's content apart without telling anything of its secrets."""
        return _digest([file.text, [self.secrets.get(key, "") for key in sorted(file.secrets)]])

    def with_tags(self, text: str) -> str:
        """The text with every tag filled in."""
        tags = {unit.name: unit.tag for unit in self.units} | {ITSELF: self.id[:12]}
        return _TAG.sub(lambda match: tags[match[1]], text)

    def final_checks(self) -> tuple[Check, ...]:
        """The checks with every unit's tag filled in."""
        return tuple(replace(check, expect=_in_all_texts(check.expect, self.with_tags)) for check in self.checks)

    def to_json(self) -> str:
        """As it stands in generation.json."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"


def _unwritable(key: str, form: str, file: ManagedFile) -> ConfigFault:
    return ConfigFault(
        f"the secret {key} cannot be written to {file.path}: it is too long, or has a character that the format {form} "
        "cannot express",
        "give it a value of printable characters on one line",
    )


def shown(text: str) -> str:
    """A text for people: the names of secrets, never their values."""
    return _TAG.sub(r"<tag of \1>", _SECRET.sub(r"<secret \1>", text))


def sealed(generation: Generation) -> Generation:
    """The generation with its units' digests and its own id: equal content, equal id."""
    units = tuple(replace(unit, digest=_unit_digest(generation, unit)) for unit in generation.units)
    body = asdict(replace(generation, units=units, id=""))
    return replace(generation, units=units, id=_digest(body)[:32])


def _unit_digest(generation: Generation, unit: Unit) -> str:
    files = [file for file in generation.files if unit.name in file.units]
    secrets = sorted({key for file in files for key in file.secrets})
    fingerprints = [[key, generation.secrets.get(key, "")] for key in secrets]
    direct = asdict(unit.direct) if unit.direct else None
    return _digest([[asdict(file) for file in files], fingerprints, unit.service, direct])


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _in_all_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Apply a change to every text in plain data."""
    if isinstance(value, dict):
        return {key: _in_all_texts(entry, change) for key, entry in value.items()}
    return change(value) if isinstance(value, str) else value


def from_json(text: str | bytes) -> Generation:
    """A generation from its generation.json. Raises ValueError, which says why it is none."""
    data = json_object(text)
    if (number := data.get("format")) != FORMAT:
        raise ValueError(f"it has format {number!r}, this version reads {FORMAT}")
    if absent := {item.name for item in fields(Generation)} - data.keys():
        raise ValueError(f"it lacks {', '.join(sorted(absent))}")
    return typed(Generation, data)


def by_path(files: Iterable[ManagedFile]) -> dict[str, ManagedFile]:
    """Files by their paths."""
    return {file.path: file for file in files}


def clashes(paths: Iterable[str]) -> Iterator[Mistake]:
    """A path is one file's, and no file is a folder at the same time; generation.json is the agent's own."""
    taken = {"generation.json"}
    for path in paths:
        if path in taken:
            yield Mistake((path,), "two files of the generation would have this path")
        taken.add(path)
    for path in sorted(taken):
        parts = path.split("/")
        folders = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        yield from (
            Mistake((path,), f"{folder!r} is already a file of the generation") for folder in folders if folder in taken
        )
