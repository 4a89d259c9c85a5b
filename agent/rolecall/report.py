"""A run's notebook: what it did, how long each step took and how it ended, as data."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from rolecall.errors import Fault, Stopped
from rolecall.fleet.check import CheckResult

FORMAT = 1


@dataclass
class Step:
    """One step of the run."""

    name: str
    seconds: float = 0.0
    outcome: str = "running"  # then: done | failed
    note: str = ""


@dataclass(frozen=True)
class ProductStatus:
    """How a product of what is current is."""

    version: str  # of its release
    serving: bool  # whether all its required self-tests passed
    ailment: str = ""  # which of them did not, and why


@dataclass(frozen=True)
class DatabaseStatus:
    """What this server is in a database."""

    duty: str  # master | candidate | replica | snapshot
    epoch: int
    opened: int = 0  # the epoch of the mastership in which it was opened last; 0: never


@dataclass
class Report:
    """What a run did. It grows while the run goes on, and is saved, told and shown as JSON."""

    command: str
    number: int = 0  # which run of this node: what runs are ordered by, whatever its clock says
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    server: str = ""
    role: str = ""
    address: str = ""  # of this node, as the document has it
    # ready | ailing | unchanged | rolled back | not ready | refused | failed | waiting | interrupted | drained
    outcome: str = "running"
    exit_code: int = 0
    error: str = ""
    hint: str = ""
    fault: str = ""  # whose it was: document (or a release's) | world | machine; nobody's where there is none
    machine_faults: int = 0  # how many runs in a row the machine itself has kept from their work, this one included
    cause: str = ""  # one word of docs/reference/causes.md: of the failure, or of what `degraded` tells
    serial: int = 0
    document: str = ""  # sha256 of the document
    source: str = ""  # the store that it came from
    signer: str = ""  # whose signature it bears; nobody's in unsigned mode
    generation: str = ""  # what was wanted
    current: str = ""  # what the daemons read when the run ended
    changes: list[dict[str, str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    degraded: str = ""
    leaving: str = ""  # why nobody should be sent here any more, though the node may be well
    owing: bool = False  # something only needs time: the next run does not pass this machine over as unchanged
    new_secrets: list[str] = field(
        default_factory=list
    )  # whose values are others than in what is current, by their keys
    # Of the authority by which clients know this database server. None until this run has asked the server.
    certificate: str | None = None
    # Marks of the passwords that this server logs in to databases with, by their keys. None until this run knows.
    logins: dict[str, str] | None = None
    releases: dict[str, str] = field(default_factory=dict)
    # Whether what is current answers, and which of its products do. None until this run has tested it; a run that does
    # not get so far repeats what the last one found.
    serving: bool | None = None
    products: dict[str, ProductStatus] = field(default_factory=dict)
    databases: dict[str, DatabaseStatus] = field(default_factory=dict)  # that it is a server of
    left_out: dict[str, str] = field(default_factory=dict)  # products that lack their release or a secret: why
    # For how many seconds the oldest write of each database waits to be acknowledged, if this node is its master.
    waits: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    boot: str = ""  # which boot of the machine it was in
    uptime: float = 0.0  # seconds from that boot to the end of the run: what pauses are measured by
    _began: float = field(default_factory=time.monotonic, repr=False)
    _watch: Callable[[Step], None] | None = field(default=None, repr=False)
    _redact: Callable[[str], str] = field(default=str, repr=False)

    def watched_by(self, watch: Callable[[Step], None]) -> "Report":
        """Call `watch` when a step begins and when it ends."""
        self._watch = watch
        return self

    def redacted_by(self, redact: Callable[[str], str]) -> "Report":
        """Have `redact` take secrets out of every text from elsewhere, such as what a daemon said when it failed."""
        self._redact = redact
        return self

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time a step and record how it ended."""
        step, began = Step(name), time.monotonic()
        self.steps.append(step)
        self._tell(step)
        try:
            yield step
            step.outcome = "done"
        except BaseException as error:  # whatever ends a step, a signal too, is on record before it goes on
            step.outcome = "failed"
            fault = error.fault if isinstance(error, Stopped) else error
            step.note = step.note or self._redact(
                fault.message.partition("\n")[0].rstrip(":") if isinstance(fault, Fault) else repr(fault)
            )
            raise
        finally:
            step.seconds = round(time.monotonic() - began, 4)
            self._tell(step)

    def progress(self, words: str) -> None:
        """How far the running step is: it takes long, and does not hang."""
        self.steps[-1].note = words
        self._tell(self.steps[-1])

    def _tell(self, step: Step) -> None:
        if self._watch:
            self._watch(step)

    def owe(self, words: str) -> None:
        """All is well, but the next run has to look again, whether anything moves or not."""
        self.owing = True
        self.warn(words)

    def warn(self, text: str) -> None:
        """Something that people should know although the run goes on."""
        text = self._redact(text)
        if text not in self.warnings:
            self.warnings.append(text)

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Products that are not as the document says, each with the reason."""
        self.left_out = {name: self._redact(reason) for name, reason in reasons.items()}

    def tested(self, results: Sequence[CheckResult], releases: Mapping[str, str]) -> None:
        """The self-tests' results of what is current, whose products have these releases; the last round counts."""
        results = [replace(result, reason=self._redact(result.reason)) for result in results]
        self.checks = [asdict(result) for result in results]
        self.products = product_statuses(results, releases)
        # What was left out is left out on every node: no reason to send visitors of the others elsewhere.
        self.serving = serves(results, self.products) and not (self.left_out and not self.products)

    def failed(self, fault: Fault, outcome: str) -> None:
        """How the run failed."""
        self.outcome, self.exit_code = outcome, fault.exit_code
        self.error, self.hint = self._redact(fault.message), self._redact(fault.hint)
        self.cause, self.fault = fault.cause, fault.whose

    def failed_too(self, words: str, fault: Fault) -> None:
        """What failed after that, while it was to be put right."""
        self.error += self._redact(f"\n{words}: {fault.message}")

    def apart(self) -> "Report":
        """A report of the same run for tests of something else than what the run is about."""
        return Report(self.command).redacted_by(self._redact)

    def snapshot(self) -> "Report":
        """A copy that changes no more, and that nobody watches."""
        return copy.deepcopy(self._detached())

    def _detached(self) -> "Report":
        """The same without what holds a terminal, or the node: copying goes into everything."""
        return replace(self, _watch=None, _redact=str)

    def data(self) -> dict[str, Any]:
        """The report as plain data."""
        self.seconds = round(time.monotonic() - self._began, 4)
        self.uptime = round(time.clock_gettime(time.CLOCK_BOOTTIME), 1)
        plain = asdict(self._detached())
        return {"format": FORMAT, **{key: value for key, value in plain.items() if not key.startswith("_")}}


Watcher: TypeAlias = Callable[[Report], Callable[[Step], None]]  # told of each step as it begins and as it ends


def product_statuses(results: Sequence[CheckResult], releases: Mapping[str, str]) -> dict[str, ProductStatus]:
    """How each product is: it serves if no required self-test of its own failed."""
    ailments = {
        name: "; ".join(
            f"{result.name}: {result.reason}"
            for result in results
            if result.product == name and result.required and not result.ok
        )
        for name in releases
    }
    return {name: ProductStatus(version, not ailments[name], ailments[name]) for name, version in releases.items()}


def with_left_out(products: Mapping[str, ProductStatus], left_out: Mapping[str, str]) -> dict[str, ProductStatus]:
    """The products, and those that lack something: they go on with what they had, or do not serve at all."""
    lacking = {
        name: replace(products[name], ailment=why)
        if name in products
        else ProductStatus("", serving=False, ailment=why)
        for name, why in left_out.items()
    }
    return {**products, **lacking}


def serves(results: Sequence[CheckResult], products: Mapping[str, ProductStatus]) -> bool:
    """Whether a node serves: every product of it does. One without products does if all its required tests passed,
    and those that its role has for it: a web server to which nobody has given a product has nothing to serve.

    What is wrong with the machine, such as a cron daemon that is gone, is no reason to send visitors elsewhere as long
    as every product answers.
    """
    if products:
        return all(product.serving for product in products.values())
    return all(result.ok for result in results if result.required or result.serving)
