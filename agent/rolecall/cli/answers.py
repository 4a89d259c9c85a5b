"""What the commands of a node and of an image find out, as data."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rolecall.fleet.check import CheckResult
from rolecall.forms.answers import Answer
from rolecall.forms.mistakes import Mistake
from rolecall.image.root import Finding
from rolecall.node.aside import Aside
from rolecall.render.plan import Change, Plan
from rolecall.report import ProductStatus, Report
from rolecall.steps.adoption import Adopted, AsideContent


@dataclass(frozen=True)
class FaultDetails:
    """A fault for machines."""

    error: str
    hint: str
    cause: str
    exit_code: int
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class FaultAnswer(Answer):
    """Why a command has no other answer."""

    sole_field: ClassVar[str] = "fault"

    fault: FaultDetails

    @property
    def exit_code(self) -> int:
        """That of the fault."""
        return self.fault.exit_code


@dataclass(frozen=True)
class RunAnswer(Answer):
    """How a run ended."""

    sole_field: ClassVar[str] = "report"

    report: Report

    @property
    def exit_code(self) -> int:
        """That of the run."""
        return self.report.exit_code


@dataclass(frozen=True)
class PlanAnswer(Answer):
    """What a run would change: two generations, the changes between them, and the lines of a diff."""

    current: str
    wanted: str
    changes: tuple[Change, ...]
    diff: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def plan_answer(plan: Plan, warnings: Sequence[str], *, summary: bool) -> PlanAnswer:
    """The answer for a plan; a `summary` has no diff."""
    diff = () if summary else tuple(plan.diff())
    return PlanAnswer(plan.old.id, plan.new.id, plan.changes, diff, tuple(warnings))


@dataclass(frozen=True)
class StatusAnswer(Answer):
    """Where the node stands. Serving: what is current answers. Healthy: it is ready, and its last run ended well."""

    server: str | None
    role: str
    fleet: str | None
    current: str | None
    ready: str | None
    serving: bool
    products: Mapping[str, ProductStatus]
    healthy: bool
    serial: int | None
    source: str | None
    document_age_seconds: float | None
    signer: str | None
    unsigned: bool
    held: bool
    leaving: str
    foreign: str  # the instance whose state is in the state folder, if it is another one
    aside: tuple[Aside, ...]
    owed: tuple[str, ...]
    releases: Mapping[str, str]
    checks: tuple[CheckResult, ...]
    last_run: Mapping[str, Any] | None  # a report
    last_run_age_seconds: float | None  # None: it was before this boot, or of a version that did not note the boot
    why: str  # the node is not healthy, in a line; '' where it is
    next: str  # what to do about it, in a line

    @property
    def exit_code(self) -> int:
        """1 unless the node is healthy."""
        return 0 if self.healthy else 1


@dataclass(frozen=True)
class SelftestAnswer(Answer):
    """How each self-test ended."""

    sole_field: ClassVar[str] = "checks"

    checks: tuple[CheckResult, ...]

    @property
    def exit_code(self) -> int:
        """1 if a required check fails."""
        return int(any(check.required and not check.ok for check in self.checks))


@dataclass(frozen=True)
class Diagnosis:
    """One thing that a boot needs: whether it is well, and what to do if it is not."""

    ok: bool
    what: str
    remedy: str


@dataclass(frozen=True)
class DoctorAnswer(Answer):
    """Everything that a boot needs."""

    sole_field: ClassVar[str] = "diagnoses"

    diagnoses: tuple[Diagnosis, ...]

    @property
    def exit_code(self) -> int:
        """1 if anything is wrong."""
        return int(not all(diagnosis.ok for diagnosis in self.diagnoses))


@dataclass(frozen=True)
class StepTimes:
    """How long a step took over several runs, in seconds."""

    step: str
    mean: float
    longest: float


@dataclass(frozen=True)
class BlameAnswer(Answer):
    """Where the last runs spent their time: the steps, the slowest first, and the longest run against the budget."""

    runs: int
    steps: tuple[StepTimes, ...]
    longest_run: float
    budget: float


def blame_answer(reports: Sequence[Mapping[str, Any]], budget: float) -> BlameAnswer:
    """The answer for these reports; the budget is that of a boot, in seconds."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for report in reports:
        for step in report["steps"]:
            seconds[step["name"]].append(step["seconds"])
    steps = [StepTimes(name, sum(times) / len(times), max(times)) for name, times in seconds.items()]
    steps.sort(key=lambda times: -times.mean)
    longest = max((report["seconds"] for report in reports), default=0.0)
    return BlameAnswer(len(reports), tuple(steps), longest, budget)


@dataclass(frozen=True)
class AsideListing(Answer):
    """Everything that lies aside."""

    sole_field: ClassVar[str] = "aside"

    aside: tuple[AsideContent, ...]


@dataclass(frozen=True)
class Adoption(Answer):
    """What was taken over of what lay aside."""

    sole_field: ClassVar[str] = "adopted"

    adopted: tuple[Adopted, ...]


@dataclass(frozen=True)
class DrainUndone(Answer):
    """Whether the machine was drained before `drain --undo`."""

    undone: bool


@dataclass(frozen=True)
class AttachedPaths(Answer):
    """The attachments that were laid, and where that is kept which stood in their places."""

    sole_field: ClassVar[str] = "paths"

    paths: tuple[str, ...]
    kept: Mapping[str, str]


@dataclass(frozen=True)
class DetachedPaths(Answer):
    """The attachments that were taken away."""

    sole_field: ClassVar[str] = "paths"

    paths: tuple[str, ...]


@dataclass(frozen=True)
class ImageCheck(Answer):
    """What is wrong with an image, and what `--fix` has mended of it."""

    findings: tuple[Finding, ...]
    mended: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """1 if anything is left."""
        return int(bool(self.findings))


@dataclass(frozen=True)
class RoleInstallation(Answer):
    """The role that a baseline image has become."""

    role: str
