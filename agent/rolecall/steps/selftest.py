"""Whether what is current works on this machine, and the way back if it does not."""

from rolecall.checks import probes
from rolecall.errors import HostFault, UnsettledFault
from rolecall.node.node import Node
from rolecall.render.generation import Generation
from rolecall.report import Report
from rolecall.steps.activation import activate


def self_test(node: Node, generation: Generation, report: Report, deadline: float | None = None) -> str:
    """All checks until they pass or the deadline is over. Raises HostFault with the reasons."""
    subject = probes.Subject(generation, node.settings.state, node.settings.paths.root, node.manager)
    results = probes.run_checks(subject, node.settings.boot.selftest_deadline if deadline is None else deadline)
    report.tested(results)
    for result in results:
        if not result.ok and not result.required:
            report.warn(f"{result.name}: {result.reason}")
    if failures := probes.failed(results):
        reasons = "\n".join(f"  {failure.name}: {failure.reason}" for failure in failures)
        kind = UnsettledFault if all(failure.blameless for failure in failures) else HostFault
        raise kind(
            f"{len(failures)} of {len(results)} self-tests failed:\n{reasons}",
            "the product's log and `rolecall selftest` tell more",
        )
    return f"{len(results)} passed"


def roll_back(node: Node, failed: Generation, report: Report) -> None:
    """Back to the generation that last passed its self-tests, code and configuration together."""
    ready = node.generations.load(node.generations.ready())
    if ready is None or ready.id == failed.id:
        return
    try:
        with report.step("roll back") as step:
            node.generations.commit(ready.id)
            activate(node, ready)
            after = Report(report.command)
            self_test(node, ready, after, min(10.0, node.settings.boot.selftest_deadline))
            step.note = f"generation {ready.id[:12]} serves again"
        report.outcome = "rolled back"
    except HostFault as fault:
        report.error += f"\nand the generation before it fails too: {fault.message}"
