"""Self-tests: each has a name, a timeout and, when it fails, a reason. Required ones are tried until a deadline."""

import os
import re
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from rolecall.checks import http
from rolecall.errors import Fault, HostFault, MachineFault, machine_error
from rolecall.fleet.check import KINDS, Check, CheckResult
from rolecall.forms.quantities import duration
from rolecall.host import attachments
from rolecall.host.redaction import Redaction
from rolecall.host.units import ServiceManager
from rolecall.node.notes import Databases, Notes
from rolecall.render.generation import Generation

Ailing: TypeAlias = frozenset[tuple[str, str]]  # checks that failed before a switch: product and name
_SETTLING = 5.0  # seconds


@dataclass(frozen=True)
class Subject:
    """What is tested: a generation on this machine."""

    generation: Generation
    state: Path
    root: str
    manager: ServiceManager
    redaction: Redaction = field(default_factory=Redaction)  # of what is said about it
    answers: http.Answers = field(default_factory=http.Answers)


def run_checks(subject: Subject, deadline: float, ailing: Ailing = frozenset()) -> list[CheckResult]:
    """Run every check; repeat the required ones that fail until all pass or `deadline` seconds are over.

    Those of `ailing`, which failed before, are waited for no longer than a daemon needs to take up what is new.
    """
    began, pause = time.monotonic(), 0.1
    checks = subject.generation.final_checks()
    results = [_try(subject, check) for check in checks]
    while failing := [n for n, check in enumerate(checks) if check.required and not results[n].ok]:
        is_worse = any(key(results[n]) not in ailing for n in failing)
        if time.monotonic() + pause >= began + (deadline if is_worse else min(deadline, _SETTLING)):
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 2.0)
        for n in failing:
            results[n] = _try(subject, checks[n])
    return results


def ailing_checks(subject: Subject, seconds: float) -> Ailing:
    """The required checks that fail now, each asked once; those for which `seconds` leave no time count as well."""
    end = time.monotonic() + seconds
    checks = (check for check in subject.generation.final_checks() if check.required)
    results = [_try(subject, check) for check in checks if time.monotonic() < end]
    return frozenset(map(key, failed(results)))


def key(result: CheckResult) -> tuple[str, str]:
    """What tells a check from the others, from one generation to the next."""
    return result.product, result.name


def _try(subject: Subject, check: Check) -> CheckResult:
    began = time.monotonic()
    if check.kind == "unit" and _elsewhere(subject, check.target):
        return CheckResult(check.name, True, check.required, 0.0, "not run on this node", product=check.product)
    machines = KINDS[check.kind].machines
    try:
        reason = PROBES[check.kind](subject, check)
    except Fault as fault:
        reason, machines = fault.message, machines or isinstance(fault, MachineFault)
    except OSError as error:
        reason, machines = f"{error.strerror or error}", machines or machine_error(error) is not None
    seconds, reason = round(time.monotonic() - began, 4), subject.redaction.redacted(reason)
    result = CheckResult(check.name, not reason, check.required, seconds, reason, check.blameless, check.product)
    return replace(result, machines=machines and not result.ok, serving=KINDS[check.kind].serving)


def _http(subject: Subject, check: Check) -> str:
    problem, answer = http.problem(check, subject.redaction)
    if answer:
        subject.answers.keep(check, answer if problem else None)
    return problem


def _tcp(_: Subject, check: Check) -> str:
    endpoint = _endpoint(check.target)
    try:
        socket.create_connection(endpoint, check.timeout).close()
    except OSError as error:
        if machine_error(error):
            raise
        return f"cannot connect to {check.target}: {error.strerror or error}"
    return ""


def _endpoint(target: str) -> tuple[str, int]:
    """`host:port`, `[address]:port`. Raises HostFault: what a role's templates made of it may be anything."""
    host, _, port = target.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise HostFault(f"{target!r} is not host:port", "correct the check in role.toml")
    return host.strip("[]"), int(port)


def _process(_: Subject, check: Check) -> str:
    import psutil

    running = any(process.info["name"] == check.target for process in psutil.process_iter(["name"]))
    return "" if running else f"no running process is called {check.target}"


def _elsewhere(subject: Subject, name: str) -> bool:
    """Whether the role has the unit, but this node's service manager does not run it."""
    return any(unit.name == name and not subject.manager.manages(unit) for unit in subject.generation.units)


def _unit(subject: Subject, check: Check) -> str:
    unit = next((unit for unit in subject.generation.units if unit.name == check.target), None)
    if unit is None:
        return f"the role has no unit {check.target!r}"
    return "" if subject.manager.active(unit) else f"{unit.service} is not active"


def _file(_: Subject, check: Check) -> str:
    path, text, max_age = Path(check.target), check.expect.get("contains"), check.expect.get("max_age")
    if not path.exists():
        return f"{path} does not exist"
    if text and text not in path.read_text("utf-8", "replace"):
        return f"{path} does not contain {text!r}"
    age = time.time() - path.stat().st_mtime
    if max_age is not None and age > max_age:
        return f"{path} is {duration(round(age))} old, and may be at most {duration(max_age)}"
    return ""


def _disk(_: Subject, check: Check) -> str:
    import psutil

    free, least = psutil.disk_usage(check.target).free // 2**20, check.expect.get("free_mb", 0)
    return "" if free >= least else f"{free} MB are free, at least {least} MB must be"


def _memory(_: Subject, check: Check) -> str:
    import psutil

    free = psutil.virtual_memory().available // 2**20
    return "" if free >= int(check.target) else f"{free} MB are available, at least {check.target} MB must be"


def _attachments(subject: Subject, _: Check) -> str:
    return "; ".join(attachments.problems(subject.generation, subject.state, subject.root))


def _products(subject: Subject, _: Check) -> str:
    if subject.generation.releases:
        return ""
    return "no product is assigned to this server: list some in its 'products' (or its tag rolecall:products)"


def _replication(subject: Subject, check: Check) -> str:
    """Asked of the server itself: whether it still is what the last run made it."""
    from rolecall.database.client import Client
    from rolecall.database.membership import replication_problem

    use, note = subject.generation.replication, Notes(subject.state).read(Databases).of(check.target)
    if use is None:
        return "the role does not say how to reach its database server"
    if not note.duty:
        return "no run has given this server a duty yet"
    return replication_problem(Client(use), note)


def _memcached(_: Subject, check: Check) -> str:
    """Set and get, as its text protocol has it (doc/protocol.txt of memcached)."""
    key, value, memory_mb = f"rolecall-{os.getpid()}", f"{time.monotonic()}", str(check.expect.get("memory_mb", ""))
    with socket.create_connection(_endpoint(check.target), check.timeout) as connection:
        stream = connection.makefile("rw", encoding="utf-8", newline="\r\n")
        stream.write(f"set {key} 0 10 {len(value)}\n{value}\nget {key}\nstats settings\nquit\n")
        stream.flush()
        answer = stream.read().splitlines()
    if answer[:3] != ["STORED", f"VALUE {key} 0 {len(value)}", value]:
        return f"{check.target} does not return what was stored in it: {http.start_of(' '.join(answer[:3]))}"
    maxbytes = int(memory_mb) * 2**20 if memory_mb.isdecimal() else None
    if f"STAT maxbytes {maxbytes}" not in answer:
        return f"{check.target} does not have {memory_mb} MB: it runs with another configuration"
    return ""


def _cron(subject: Subject, check: Check) -> str:
    """What makes cron pass a file over in silence: another owner, a mode that others can write, no last line end."""
    path = subject.state / "current" / check.target
    status, file = path.stat(), subject.generation.file(check.target)
    if file and file.owner and status.st_uid != 0:
        return f"{path} does not belong to root: cron would ignore it"
    if status.st_mode & 0o022:
        return f"{path} is writable by others: cron would ignore it"
    if status.st_size and not path.read_bytes().endswith(b"\n"):
        return f"{path} does not end with a newline: cron would ignore it"
    return ""


PROBES: dict[str, Callable[[Subject, Check], str]] = {
    "http": _http,
    "tcp": _tcp,
    "process": _process,
    "unit": _unit,
    "file": _file,
    "disk": _disk,
    "memory": _memory,
    "attachments": _attachments,
    "products": _products,
    "replication": _replication,
    "memcached": _memcached,
    "cron": _cron,
}


def failed(results: Iterable[CheckResult]) -> list[CheckResult]:
    """The required checks that failed."""
    return [result for result in results if result.required and not result.ok]
