"""What else a run goes by: who this machine is, what its products bring along, which generation is wanted."""

import json
import math
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rolecall.errors import FetchFault, HostFault
from rolecall.fleet.assignment import Assignment
from rolecall.fleet.identity import Identity
from rolecall.host.roles import read_role, roles_folder
from rolecall.metadata import identify
from rolecall.node import records
from rolecall.node.node import Node
from rolecall.render.generation import Generation
from rolecall.render.plan import Plan
from rolecall.render.rendering import render
from rolecall.render.role import Role
from rolecall.report import Report
from rolecall.trust.verification import VERIFIED, Document

IDENTITY = "identity"  # the note in the run folder, which a reboot empties

RECHECK = 1.0  # seconds between two looks at what may come late


def whoami(node: Node, report: Report) -> Identity:
    """Who this machine is. At boot networks and mounts may be late, so it is asked again; within one boot it stays.

    Raises FetchFault with the cause, ConfigFault for what is wrong and not late.
    """
    settings, noted = node.settings, node.run_notes.read(IDENTITY)
    patience = settings.boot.metadata_timeout if report.command == "boot" else 0.0
    until = time.monotonic() + patience
    while True:
        try:
            deadline = max(until, time.monotonic() + min(settings.network.timeout, patience or math.inf))
            return identify(node.sources, node.account.imds, deadline, settings.paths.root)
        except FetchFault as fault:
            if noted:
                report.warn(f"{fault.message}; this machine goes by what it was told earlier in this boot")
                return Identity.model_validate_json(json.dumps(noted))
            if fault.cause == "imds-off" or time.monotonic() + RECHECK >= until:
                raise
        time.sleep(RECHECK)


def set_aside(node: Node, identity: Identity, report: Report) -> None:
    """State that another instance has left, in an image or a copied disk, is kept for people, and trusted by nobody."""
    other = node.notes.read(VERIFIED).get("instance")
    if identity.instance and other and other != identity.instance:
        where = records.set_aside(node.settings.state, str(other))
        report.server = ""
        report.warn(f"the state of another instance, {other}, was found and set aside in {where}")


def release_templates(node: Node, role: Role, assignment: Assignment, *, dry: bool) -> dict[str, dict[str, str]]:
    """The templates that products bring along, for the files that the role allows by name.

    They are in the releases, which are unpacked for it, unless `dry`: then only what is unpacked already is seen.
    """
    allowed = [file.source for file in role.table.file if file.release]
    if not allowed:
        return {}
    found = {}
    for use in render(role, assignment, node.facts).releases:
        if not dry:
            node.releases.ensure(use, node.store.stream)
        found[use.product] = node.releases.templates(use, allowed)
    return found


def bare(node: Node, name: str) -> Generation:
    """A role without a product, and with its daemons' drop-ins: what every node of it has, so that an image can."""
    role = read_role(roles_folder(node.settings.paths.templates), name)
    made = render(role, Assignment("image", "image", name, "none", "127.0.0.1", ()), node.facts)
    return replace(made, attachments=made.attachments + node.manager.drop_ins(made, node.settings.state))


def choose(node: Node, document: Document, plan: Plan, report: Report, *, resume: bool) -> Generation | None:
    """The rendered generation; or the one that an operator holds; or, while a failed one waits, the ready one."""
    wanted = plan.new
    report.generation = wanted.id
    report.changes = [{"action": one.action, "path": one.path, "note": one.note} for one in plan.changes]
    hold = node.notes.read("hold")
    if hold and (resume or hold.get("document") != document.sha256):
        node.notes.remove("hold")
    elif hold and (held := node.generations.load(hold.get("generation"))):
        report.warn(f"held at generation {held.id[:12]} by `rolecall rollback`, until the document changes or --resume")
        report.generation, report.changes = held.id, []
        return held
    unproven = wanted.id not in (node.generations.ready(), node.generations.current())
    if unproven and report.command != "boot" and not resume:
        failures, again = failures_of(node, wanted.id, document.sha256)
        if datetime.now(UTC) < again:
            times = "once" if failures == 1 else f"{failures} times"
            fault = HostFault(
                f"generation {wanted.id[:12]} has failed {times}; the next try is at {again:%H:%M:%S} UTC",
                "correct the document; `rolecall refresh --resume` tries at once",
            )
            report.failed(fault, "waiting")
            report.changes = []
            return node.generations.load(node.generations.ready())
    return wanted


def failures_of(node: Node, generation: str, document: str) -> tuple[int, datetime]:
    """How often a generation has failed with this document, and when it may be tried again."""
    mine = [one for one in node.reports.last(node.settings.keep.reports)
            if (one.get("generation"), one.get("document")) == (generation, document)]  # fmt: skip
    # A store that is out (75) is no fault of the generation, and waiting is no try.
    failed = [one for one in mine if one.get("exit_code") in (1, 78) and one.get("outcome") != "waiting"]
    if not failed:
        return 0, datetime.min.replace(tzinfo=UTC)
    pause = timedelta(minutes=min(2 ** (len(failed) - 1), 60))
    last = failed[0]
    ended = datetime.fromisoformat(last["started"]) + timedelta(seconds=float(last.get("seconds", 0)))
    return len(failed), ended + pause


def earlier(node: Node, wanted: str | None) -> Generation:
    """The generation that an operator means: by its id's start, or the one that was ready before. Raises HostFault."""
    current = node.generations.current()
    others = [node.generations.load(one) for one in node.generations.ids() if one != current]
    ids = [one.id for one in others if one and not one.empty]
    if wanted:
        found = [one for one in ids if one.startswith(wanted)]
    else:
        proven = [one.get("generation") for one in node.reports.last(node.settings.keep.reports)
                  if one.get("outcome") == "ready"]  # fmt: skip
        found = [one for one in proven if one in ids][:1]
    generation = node.generations.load(found[0]) if len(found) == 1 else None
    if generation is None:
        problem = (
            f"{len(found)} generations start with {wanted!r}" if wanted else "no earlier generation was ever ready"
        )
        raise HostFault(problem, f"on disk: {', '.join(one[:12] for one in ids) or 'none but the current one'}")
    return generation
