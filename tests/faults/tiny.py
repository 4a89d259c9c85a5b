"""A node as small as can be, for faults by the hundred: the real agent and two small daemons, in a folder.

The role is `roles/tiny`; its daemons are `reader.py`. An edition is all that the node can be at a time: every file that
is rendered, and every file of every release, names the edition it belongs to.
"""

import ctypes
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import program
from box import ROLECALL, archive, document
from patience import on_this_machine
from rolecall import run
from rolecall.host import processes
from rolecall.node.node import Node, open_node
from rolecall.report import Report
from rolecall.settings import load_settings

HERE = Path(__file__).parent
UNITS = ("one", "two")
Entry = tuple[Any, ...]
Picture = dict[str, Entry]  # path → what is there
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class State:
    """What a node is: the picture of its state folder, what it noted as loaded, and what its daemons have read."""

    picture: Picture
    loaded: Mapping[str, str]
    read: Mapping[str, str]

    def apparent(self) -> "State":
        """Without dot files: a power cut may bring one back, and the next change of the node removes it."""
        return replace(self, picture={path: one for path, one in self.picture.items() if "/." not in f"/{path}"})

    def differences(self, other: "State") -> list[str]:
        """What is not the same, in words."""
        found = [
            f"{path}: {_short(other.picture.get(path))}, not {_short(self.picture.get(path))}"
            for path in sorted(self.picture.keys() | other.picture.keys())
            if self.picture.get(path) != other.picture.get(path)
        ]
        for what in ("loaded", "read"):
            mine, its = getattr(self, what), getattr(other, what)
            found += [f"{what} {unit}: {its.get(unit)}, not {mine.get(unit)}" for unit in UNITS
                      if mine.get(unit) != its.get(unit)]  # fmt: skip
        return found


def _short(entry: Entry | None) -> str:
    return "nothing" if entry is None else repr(entry)[:100]


class Tiny:
    """One node below `root`, its store, and its daemons."""

    def __init__(self, root: Path, *, keep: int = 5, restart: bool = False, state: Path | None = None) -> None:
        self.root, self.state = root, state or root / "state"
        self.run, self.store = root / "run/rolecall", root / "srv/store"
        self.config = root / "etc/agent.toml"
        self.env = {**os.environ, "NO_COLOR": "1"}
        # A daemon whose starter is gone becomes our child, so that none is left as a zombie.
        self.document = document(serial=0)
        adopt_orphans(True)
        for folder in ("etc", "run/tiny", "srv/store", "srv/works"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "etc/identity.json").write_text('{"server": "web1"}')
        (root / "etc/password").touch(0o600)
        (root / "etc/password").write_text("correct horse\n")
        roles = copy(HERE / "roles", root / "etc/roles")
        if restart:
            role = roles / "tiny/role.toml"
            text = role.read_text().replace('action = "reload"', 'action = "restart"')
            role.write_text(text.replace('reload = "USR1"\n', ""))  # a signal to reload is for units that do
        self.config.write_text(f"""role = "tiny"
platform = "test"
identity = ["file:{root}/etc/identity.json"]
store = ["file://{self.store}"]
readiness = ["store"]
service_manager = "direct"
accounts = "none"
[trust]
unsigned = true
[paths]
root = "{root}"
state = "{self.state}"
run = "{self.run}"
templates = "{roles}"
[boot]
selftest_deadline = "10ms"
[names]
python = "{sys.executable}"
reader = "{HERE / "reader.py"}"
[keep]
generations = {keep}
""")
        self.document["servers"] = {"web1": {"role": "tiny", "address": "10.0.0.11", "zone": "a", "products": []}}
        self.document["databases"], self.document["caches"] = {}, {}

    # The store

    def publish(self, edition: str, *products: str, works: bool = True) -> None:
        """A document, with a release of each product, all of one edition; the self-tests pass if it works."""
        new = {**self.document, "serial": self.document["serial"] + 1, "products": {}}
        new["servers"] = {"web1": {**self.document["servers"]["web1"], "products": list(products)}}
        for name in products:
            new["products"][name] = {
                "hostnames": [f"{name}.example.com"], "user": f"p-{name}", "runtime": "static",
                "release": self.release(name, edition), "environment": {"EDITION": edition},
                "secrets": {"DB_PASSWORD": f"file:{self.root}/etc/password"},
            }  # fmt: skip
        self.document = new
        fresh = self.store / ".fleet.json"
        fresh.write_text(json.dumps(new))
        fresh.rename(self.store / "fleet.json")
        if works:
            (self.root / "srv/works" / edition).touch()

    @contextmanager
    def published(self, edition: str | None, *products: str) -> Iterator[None]:
        """Another document for a while; None is one that is refused."""
        document, file = self.document, self.store / "fleet.json"
        raw = file.read_bytes()
        if edition is None:
            file.write_text("{")
        else:
            self.publish(edition, *products)
        try:
            yield
        finally:
            self.document = document
            file.write_bytes(raw)

    def release(self, product: str, edition: str) -> dict[str, Any]:
        """Put a release of an edition into the store; returns its entry of the document."""
        files = {"VERSION": f"edition {edition}\n", "public/index.html": f"edition {edition}\n{product}\n",
                 "public/css/site.css": f"edition {edition}\n/* {product} */\n"}  # fmt: skip
        path = self.store / f"releases/{product}/{edition}.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else archive(files)
        path.write_bytes(data)
        name = path.relative_to(self.store).as_posix()
        return {"version": edition, "artifact": name, "sha256": sha256(data).hexdigest(), "size": len(data)}

    # The agent

    def node(self) -> Node:
        """The node, opened anew."""
        return open_node(load_settings(self.config))

    def converge(self, command: str = "refresh", *, resume: bool = False) -> Report:
        """A whole run, in this process. A reload is over when the daemon has read its files, as it is with systemd."""
        with self.patient():
            return run.converge(self.node(), command, resume=resume)

    def go_back(self, generation: str) -> Report:
        """An operator's roll-back, in this process."""
        with self.patient():
            return run.go_back(self.node(), generation)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Let a signal to a daemon of ours return once the daemon has done what it was told; and keys be the same."""
        send, random = processes.send, os.urandom

        def patiently(receiver: processes.Process, number: signal.Signals) -> bool:
            unit = next((unit for unit in UNITS if number == signal.SIGUSR1 and receiver.pid == self.pid(unit)), None)
            if unit is None:
                return send(receiver, number)
            self.reload(unit, receiver.pid, lambda: send(receiver, number))
            return True

        processes.send, os.urandom = patiently, bytes
        try:
            yield
        finally:
            processes.send, os.urandom = send, random

    def rolecall(self, *words: str, under: Iterable[str] = (), timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """The program itself; `under` is what starts it, such as strace."""
        if not under:
            return program.rolecall([*words, "--config", str(self.config)], self.env, timeout)
        return subprocess.run(
            self.argv(*words, under=under), env=self.env, capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def argv(self, *words: str, under: Iterable[str] = ()) -> list[str]:
        """The command line of the program."""
        return [*under, *ROLECALL, *words, "--config", str(self.config)]

    # What it has become

    def look(self) -> State:
        """What the node is now."""
        loaded = {unit: text_of(self.run / "loaded" / unit) for unit in UNITS}
        read = {unit: next(iter(self.read(unit)[-1:]), "") for unit in UNITS}
        return State(settled(picture(self.state)), loaded, read)

    def fingerprint(self) -> object:
        """What tells this node from any other: all that a run can find."""
        run = {path: entry for path, entry in picture(self.run).items() if path != "lock"}
        logs = tuple(text_of(self.root / "run/tiny" / f"{unit}.log") for unit in UNITS)
        return repr(settled(picture(self.state))), repr(run), logs, tuple(bool(self.pid(unit)) for unit in UNITS)

    def read(self, unit: str) -> list[str]:
        """What a daemon says that it has read, each time."""
        return [line.partition(" ")[2] for line in text_of(self.root / "run/tiny" / f"{unit}.log").splitlines()]

    def pid(self, unit: str) -> int:
        """The process of a daemon; 0 if there is none."""
        text = text_of(self.root / "run/tiny" / f"{unit}.pid").strip()
        return int(text) if text and _state(int(text)) not in ("", "Z") else 0

    # Its past and its end

    def keep(self, name: str) -> None:
        """Keep the state as it is now, to come back to."""
        copy(self.state, self.root / name / "state")
        copy(self.run, self.root / name / "run")

    def come_back(self, name: str) -> None:
        """The state as it was kept. Daemons that run read it, and their logs begin with that."""
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)
        copy(self.root / name / "state", self.state)
        copy(self.root / name / "run", self.run)
        for unit in UNITS:
            (self.root / "run/tiny" / f"{unit}.log").unlink(missing_ok=True)
            if pid := self.pid(unit):
                self.reload(unit, pid)

    def reload(self, unit: str, pid: int, send: Callable[[], object] | None = None) -> None:
        """Tell a daemon to read its files, and wait until it has."""
        log = self.root / "run/tiny" / f"{unit}.log"
        before = log.stat().st_size if log.exists() else 0
        if send:
            send()
        else:
            os.kill(pid, signal.SIGUSR1)
        wait(lambda: log.exists() and log.stat().st_size > before, f"{unit} has read its files")

    def power_off(self) -> None:
        """What a power cut does to processes and to /run."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.rmtree(self.root / "run/tiny")
        (self.root / "run/tiny").mkdir()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the daemons that have a pid file."""
        pids = [pid for unit in UNITS if (pid := self.pid(unit))]
        for pid in pids:
            end(pid, number)

    def close(self) -> None:
        """End all processes of this node, also those without a pid file, and remove the folder."""
        self.stop()
        for entry in os.listdir("/proc"):
            if entry.isdigit() and f"{self.root}/run/tiny/".encode() in content_of(Path("/proc", entry, "cmdline")):
                end(int(entry), signal.SIGKILL)
        adopt_orphans(False)  # the tests after these reap none
        shutil.rmtree(self.root)


Nodes = Callable[..., Tiny]  # the fixture that makes them


def adopt_orphans(yes: bool) -> None:
    """Whether a process whose parent has ended becomes a child of this one, or of init."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def end(pid: int, number: int) -> None:
    """Send a process a signal that ends it, wait, and take its exit status if it is our child."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    wait(lambda: _state(pid) in ("", "Z"), f"process {pid} has ended")
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def wait(done: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + on_this_machine(seconds)
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.0005)


def _state(pid: int) -> str:
    return text_of(Path(f"/proc/{pid}/stat")).rpartition(")")[2].strip()[:1]


def content_of(path: Path) -> bytes:
    """What is in a file; nothing where there is none, and of a process that has ended meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def text_of(path: Path) -> str:
    """As text."""
    return content_of(path).decode()


def copy(source: Path, target: Path) -> Path:
    """Copy a tree as it is: links, modes, times."""
    if source.exists():
        shutil.copytree(source, target, symlinks=True)
    return target


# Pictures of a state folder


def picture(folder: Path) -> Picture:
    """Everything below a folder: its kind, mode and owner, and its content; of releases also the times."""
    found: Picture = {}
    pending = [""]
    for at in pending:  # grows as it goes
        try:
            entries = sorted(os.scandir(folder / at), key=lambda one: one.name)
        except FileNotFoundError:
            continue
        for one in entries:
            path = f"{at}/{one.name}".lstrip("/")
            status = one.stat(follow_symlinks=False)
            owner = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
            if one.is_symlink():
                found[path] = ("link", os.readlink(folder / path))
            elif one.is_dir():
                found[path] = ("folder", *owner)
                pending.append(path)
            else:
                mtime = int(status.st_mtime) if is_of_a_release(path) else 0
                found[path] = ("file", *owner, (folder / path).read_bytes(), mtime)
    return found


def is_of_a_release(path: str) -> bool:
    """Whether a path is what an archive has, whose time counts; not what the agent writes beside it."""
    return path.startswith("releases/") and path.count("/") > 2


def settled(all_: Picture) -> Picture:
    """A picture without what may differ between two nodes that are the same: reports, times, an order cut short."""
    found = {
        path: entry
        for path, entry in all_.items()
        if not path.startswith(("reports", "runs.json", ".runs.json", ".hold.json")) and not path.endswith(".compared")
    }
    for path in ("fleet/verified.json", "fleet/verified.copy.json"):
        if entry := found.get(path):
            found[path] = (*entry[:4], {**json.loads(entry[4]), "fetched": ""}, 0)
    return found


class Known:
    """The generations and releases that a node may have, whole, and what its daemons say of each."""

    def __init__(self) -> None:
        self.generations: dict[str, Picture] = {}
        self.releases: dict[str, Picture] = {}
        self.read: dict[tuple[str, str], str] = {}  # unit, edition → what it has read then

    def learn(self, tiny: Tiny) -> State:
        """All that this node has, and all that its daemons have read, is as it should be."""
        state = tiny.look()
        for path in state.picture:
            parts = path.split("/")
            if parts[0] == "generations" and len(parts) == 2:
                self.generations.setdefault(path, below(state.picture, path))
            if parts[0] == "releases" and len(parts) == 3:
                self.releases.setdefault(path, below(state.picture, path))
        for unit in UNITS:
            for line in tiny.read(unit):
                edition = line.split()[0]
                assert self.read.setdefault((unit, edition), line) == line, f"{unit} has read {line!r} of {edition}"
                assert edition.isalnum(), f"{unit} has read {line!r}"
        return state

    def faults(self, seen: Picture, *, first: bool = False) -> list[str]:
        """What daemons would stumble over: a link to nothing, or to a generation or release that is not whole."""
        found = []
        for link in ("current", "ready"):
            if link not in seen:
                found += [] if first else [f"{link} is missing"]
                continue
            target = str(seen[link][1])
            found += [f"{link}: {fault}" for fault in self._faults_of(seen, target)]
        found += [f"{path} is damaged" for path in seen if _damaged(path, seen[path])]
        return found

    def _faults_of(self, seen: Picture, generation: str) -> list[str]:
        if generation not in self.generations:
            return [f"{generation} is no generation"]
        found = unlike(seen, generation, self.generations[generation])
        manifest = self.generations[generation][f"{generation}/generation.json"]
        for use in json.loads(manifest[4])["releases"]:
            found += unlike(seen, use["folder"], self.releases[use["folder"]])
        return found

    def mixed(self, tiny: Tiny) -> list[str]:
        """What daemons have read that is not one edition, in whole."""
        good = set(self.read.values())
        return [f"{unit} has read {line!r}" for unit in UNITS for line in tiny.read(unit) if line not in good]


def below(all_: Picture, folder: str) -> Picture:
    """The part of a picture that is a folder."""
    return {path: entry for path, entry in all_.items() if path == folder or path.startswith(f"{folder}/")}


def unlike(seen: Picture, folder: str, whole: Picture) -> list[str]:
    """Where a folder is not as it should be."""
    found = [f"{path} is {_short(seen.get(path))}" for path, entry in whole.items() if seen.get(path) != entry]
    return found + [f"{path} is too many" for path in below(seen, folder).keys() - whole.keys()]


def _damaged(path: str, entry: Entry) -> bool:
    """Whether a note or a report, under its own name, is not in whole."""
    if not path.endswith(".json") or "/." in path or not path.startswith(("fleet/", "reports/")):
        return False
    try:
        json.loads(entry[4])
    except ValueError:
        return True
    return False
