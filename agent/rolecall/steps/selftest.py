"""Whether what is current works on this machine, and the way back if it does not."""

from collections.abc import Sequence
from contextlib import suppress

from rolecall.checks import probes
from rolecall.errors import HostFault, MachineFault, UnsettledFault
from rolecall.fleet.check import CheckResult
from rolecall.node.node import Node
from rolecall.render.generation import Generation
from rolecall.report import Report
from rolecall.steps.activation import activate

_PATIENCE = 10.0  # seconds for a generation that has passed before


def self_test(node: Node, generation: Generation, report: Report, deadline: float | None = None) -> str:
    """All checks until they pass or the deadline is over. Raises HostFault with the reasons."""
    subject = probes.Subject(generation, node.settings.state, node.settings.paths.root, node.manager)
    results = probes.run_checks(subject, node.settings.boot.selftest_deadline if deadline is None else deadline)
    report.tested(results, {release.product: release.version for release in generation.releases})
    for result in results:
        if not result.ok and not result.required:
            report.warn(f"{result.name}: {result.reason}")
    if failures := probes.failed(results):
        reasons = "\n".join(f"  {failure.name}: {failure.reason}" for failure in failures)
        raise _kind(failures)(
            f"{len(failures)} of {len(results)} self-tests failed:\n{reasons}",
            "see the product's log and `rolecall selftest`",
        )
    return f"{len(results)} passed"


def _kind(failures: Sequence[CheckResult]) -> type[HostFault]:
    """Whose fault it is that these checks failed: the generation's, unless it is nobody's who could be rolled back."""
    if not all(failure.blameless or failure.machines for failure in failures):
        return HostFault
    return MachineFault if any(failure.machines for failure in failures) else UnsettledFault


def roll_back(node: Node, failed: Generation, report: Report) -> None:
    """Back to the generation that last passed its self-tests, code and configuration together.

    Whether that one serves is then what the report says; its checks stay those of the generation that failed.
    """
    ready = node.generations.load(node.generations.ready())
    if ready is None or ready.id == failed.id:
        return
    restored = Report(report.command)
    try:
        with report.step("roll back") as step:
            node.generations.commit(ready.id)
            activate(node, ready)
            self_test(node, ready, restored, min(_PATIENCE, node.settings.boot.selftest_deadline))
            step.note = f"generation {ready.id[:12]} serves again"
        report.outcome = "rolled back"
    except HostFault as fault:
        report.error += f"\nand the generation before it fails too: {fault.message}"
    if restored.serving is not None:
        report.serving, report.products = restored.serving, restored.products


def observe(node: Node, report: Report) -> None:
    """Where a run failed before its self-tests: whether what is current answers all the same, asked once."""
    live = node.generations.load(node.generations.current())
    if report.serving is None and live is not None:
        observation = Report(report.command)
        with suppress(HostFault):
            self_test(node, live, observation, 0.0)
        report.serving, report.products = observation.serving, observation.products
