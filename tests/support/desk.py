"""An operator's desk: a file, keys, and a store that they publish to by the real program."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import program
from box import document
from signed import Keys

Done = subprocess.CompletedProcess[str]


@dataclass
class Desk:
    """An operator's file and keys, and the store that they publish to."""

    folder: Path
    keys: Keys
    url: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "fleet.json"

    @property
    def signers(self) -> Path:
        return self.folder / "allowed_signers"

    @property
    def live(self) -> Path:
        """What a store in a folder has."""
        return Path(self.url.removeprefix("file://")) / "fleet.json"

    def write(self, serial: int = 1, **parts: Any) -> None:
        """The operator's file, as they would lay it out."""
        fleet = document(serial=serial, issued="2026-01-01T00:00:00Z", not_after="2026-01-08T00:00:00Z", **parts)
        self.file.write_text(json.dumps(fleet, indent=3) + "\n")

    def rolecall(self, *words: str, ok: int = 0) -> Done:
        """The program, without a terminal; it ends with this code."""
        env = {**os.environ, "NO_COLOR": "1", "NO_PROXY": "*", "AWS_EC2_METADATA_DISABLED": "true", **self.environment}
        process = program.rolecall(words, env, cwd=self.folder)
        assert process.returncode == ok, f"{words}: {process.returncode}\n{process.stdout}{process.stderr}"
        assert "Traceback" not in process.stderr
        return process

    def publish(self, *words: str, key: str = "ops", ok: int = 0) -> Done:
        """`fleet publish`, signed and checked."""
        with_key = ("--key", str(self.keys.file(key)), "--signers", str(self.signers)) if key else ()
        return self.rolecall("fleet", "publish", str(self.file), "--store", self.url, *with_key, *words, ok=ok)

    def refused(self, *words: str, key: str = "ops", ok: int = 78) -> str:
        """It says why not, and neither the file nor the store was touched."""
        before = self.look()
        error = self.publish(*words, key=key, ok=ok).stderr
        assert self.look() == before
        return error

    def look(self) -> object:
        """Everything that publishing might change: names, content, modes and times."""
        folders = {self.folder, self.live.parent}
        paths = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir())
        return [(path, path.stat().st_mode, path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
                for path in paths]  # fmt: skip

    def data(self) -> dict[str, Any]:
        """What the operator's file says."""
        data: dict[str, Any] = json.loads(self.file.read_text())
        return data

    def edit(self, **parts: Any) -> None:
        """Change the operator's file."""
        self.file.write_text(json.dumps({**self.data(), **parts}, indent=3) + "\n")


def new_desk(folder: Path, keys: Keys, **parts: Any) -> Desk:
    """A desk whose file has these parts beside what every document has, and an empty store in a folder beside it."""
    for name in ("desk", "store"):
        (folder / name).mkdir()
    desk = Desk(folder / "desk", keys, f"file://{folder}/store")
    desk.signers.write_text(f"{keys.line('ops')}\n{keys.line('two')}\n")
    desk.write(**parts)
    return desk


def opened(raw: bytes) -> tuple[bytes, str]:
    """Payload and signature of an envelope."""
    envelope = json.loads(raw)
    assert envelope.keys() == {"rolecall", "payload", "signature"}
    return envelope["payload"].encode(), envelope["signature"]
