"""Whether what is current works on this machine, and the way back if it does not."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from rolecall.checks import probes
from rolecall.checks.http import Answers
from rolecall.checks.probes import Ailing
from rolecall.errors import AilingFault, HostFault, MachineFault, UnsettledFault
from rolecall.fleet.check import CheckResult
from rolecall.node.node import Node
from rolecall.node.redaction import redaction_for
from rolecall.render.generation import Generation
from rolecall.report import Report
from rolecall.steps.activation import activate
from rolecall.steps.evidence import Before, before_switch

_PATIENCE = 10.0  # seconds for a generation that has passed before
_GLANCE = 30.0  # seconds for what is live before a switch; it is asked once


def examine(node: Node, target: Generation, live: Generation) -> Before:
    """How things are before a switch: which checks of what is live fail says nothing against what comes.

    Where daemons have not yet loaded what is live, as during a boot, nothing can be said of it.
    """
    ailing: Ailing = frozenset()
    if not (live.empty or live.id == target.id or node.loaded.owed(live, node.manager)):
        ailing = probes.ailing_checks(_subject(node, live), _GLANCE)
    return before_switch(node, target, live, ailing)


def self_test(
    node: Node,
    generation: Generation,
    report: Report,
    deadline: float | None = None,
    ailing: Ailing = frozenset(),
    *,
    answers: Answers | None = None,
) -> str:
    """All checks until they pass or the deadline is over. Raises HostFault with the reasons; AilingFault if nothing but
    what was `ailing` before the switch still fails. `answers`: where wrong answers of pages are kept."""
    seconds = node.settings.boot.selftest_deadline if deadline is None else deadline
    subject = replace(_subject(node, generation), answers=answers or Answers())
    results = probes.run_checks(subject, seconds, ailing)
    report.tested(results, generation.versions)
    for result in results:
        if not result.ok and not result.required:
            report.warn(f"{result.name}: {result.reason}")
    if failures := probes.failed(results):
        reasons = "\n".join(f"  {failure.name}: {failure.reason}" for failure in failures)
        words = f"{len(failures)} of {len(results)} self-tests failed"
        worse = [failure for failure in failures if probes.key(failure) not in ailing]
        if not worse and _kind(failures) is HostFault:
            raise AilingFault(
                f"{words}, as they did before the switch:\n{reasons}",
                "see the product's log and `rolecall selftest`; nothing was rolled back for it",
            )
        raise _kind(worse or failures)(f"{words}:\n{reasons}", "see the product's log and `rolecall selftest`")
    return f"{len(results)} passed"


def _subject(node: Node, generation: Generation) -> probes.Subject:
    settings, redaction = node.settings, redaction_for(node, generation)
    return probes.Subject(generation, settings.state, settings.paths.root, node.manager, redaction)


def _kind(failures: Sequence[CheckResult]) -> type[HostFault]:
    """Whose fault it is that these checks failed: the generation's, unless it is nobody's who could be rolled back."""
    if not all(failure.blameless or failure.machines for failure in failures):
        return HostFault
    return MachineFault if any(failure.machines for failure in failures) else UnsettledFault


def roll_back(node: Node, failed: Generation, report: Report, ailing: Ailing) -> None:
    """Back to the generation that last passed its self-tests, code and configuration together.

    Whether that one serves is then what the report says; its checks stay those of the generation that failed.
    """
    ready = node.generations.load(node.generations.ready())
    if ready is None or ready.id == failed.id:
        return
    restored = report.apart()
    try:
        with report.step("roll back") as step:
            node.generations.commit(ready.id)
            activate(node, ready)
            with suppress(AilingFault):
                self_test(node, ready, restored, min(_PATIENCE, node.settings.boot.selftest_deadline), ailing)
            step.note = f"generation {ready.id[:12]} serves again"
        report.outcome = "rolled back"
    except HostFault as fault:
        report.failed_too("and the generation before it fails too", fault)
    if restored.serving is not None:
        report.serving, report.products = restored.serving, restored.products


def observe(node: Node, report: Report) -> None:
    """Where a run failed before its self-tests: whether what is current answers all the same, asked once."""
    live = node.generations.load(node.generations.current())
    if report.serving is None and live is not None:
        observation = report.apart()
        with suppress(HostFault):
            self_test(node, live, observation, 0.0)
        report.serving, report.products = observation.serving, observation.products
