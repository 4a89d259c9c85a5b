"""Which products can be deployed: one whose release is refused keeps no other product of the node from it.

What was refused is noted in the run folder, so that a large archive is not downloaded each minute to be refused again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from rolecall.errors import ConfigFault
from rolecall.fleet.assignment import AssignedProduct, Assignment
from rolecall.host import boot
from rolecall.node.node import Node
from rolecall.node.refusals import Refusal, Refusals
from rolecall.render.contents import DeployedRelease, deployed_release
from rolecall.report import Report
from rolecall.steps.choice import pause_after


class RefusedReleases(ConfigFault):
    """Releases that are not what the document says, or break the rules. They are noted; the others can go on."""


def deploy(node: Node, releases: Iterable[DeployedRelease], tell: Callable[[], None] | None = None) -> list[str]:
    """Unpack each release that is not on disk yet; returns notes of what was done.

    With `tell`, what is damaged of the others is repaired too; it is called right before one takes its place: its path
    stays the same, and a daemon may go on with the code that it has read. Raises RefusedReleases once all were tried.
    """
    unpacked: list[str] = []
    notes: list[str] = []
    faults: dict[DeployedRelease, ConfigFault] = {}
    noted = dict(node.run_notes.read(Refusals).products)
    for release in releases:
        try:
            if tell and (note := node.releases.keep_whole(release, node.store.stream, tell)):
                notes.append(note)
            if node.releases.ensure(release, node.store.stream):
                unpacked.append(release.product)
            if _noted(noted, release):
                del noted[release.product]
        except ConfigFault as fault:
            faults[release] = fault
    if faults:
        node.run_notes.write(Refusals({**noted, **_refusals(faults, noted)}))
        raise RefusedReleases(*_in_words({release.product: fault for release, fault in faults.items()}))
    return [f"unpacked {', '.join(unpacked)}", *notes] if unpacked else notes


def _refusals(faults: Mapping[DeployedRelease, ConfigFault], noted: Mapping[str, Refusal]) -> dict[str, Refusal]:
    refusals = {}
    for release, fault in faults.items():
        before = _noted(noted, release)
        failures = before.failures + 1 if before else 1
        refusals[release.product] = Refusal(release, fault.message, fault.hint, failures, boot.uptime())
    return refusals


def _noted(noted: Mapping[str, Refusal], release: DeployedRelease) -> Refusal | None:
    """The refusal of exactly this release: one that the document has corrected is another one."""
    refusal = noted.get(release.product)
    return refusal if refusal and _is_same(refusal.release, release) else None


def _is_same(release: DeployedRelease, other: DeployedRelease) -> bool:
    """Whether two are one release, laid out in one way; whose its writable folders are is no matter of the archive."""
    return replace(release, user="") == replace(other, user="")


def without_refused(node: Node, assignment: Assignment, report: Report, *, again: bool) -> Assignment:
    """The assignment as far as it can be deployed: a product that was refused goes on with the release that is live;
    where there is none, it is left out. `again`: what was refused is tried again at a boot, and after its pause."""
    noted = node.run_notes.read(Refusals).products
    live = node.generations.load(node.generations.current())
    deployed = {release.product: release for release in live.releases} if live else {}
    products, left_out = [], list(assignment.left_out)
    for product in assignment.products:
        refusal = _noted(noted, deployed_release(product, product.user))
        if refusal is None or (again and _is_due(refusal, report)):
            products.append(product)
            continue
        report.left_out[product.name] = f"release {product.release.version} is refused: {refusal.reason}"
        earlier = deployed.get(product.name)
        if earlier and not _is_same(earlier, refusal.release) and (node.settings.state / earlier.folder).is_dir():
            products.append(_with_release(product, earlier))
        else:
            left_out.append(product)
    return replace(assignment, products=tuple(products), left_out=tuple(left_out))


def _is_due(refusal: Refusal, report: Report) -> bool:
    return report.command == "boot" or pause_after(refusal.failures, refusal.uptime) <= 0


def _with_release(product: AssignedProduct, earlier: DeployedRelease) -> AssignedProduct:
    release = product.release.model_copy(
        update={
            "version": earlier.version,
            "artifact": earlier.artifact,
            "sha256": earlier.sha256,
            "size": earlier.size,
        }
    )
    return replace(product, release=release, document_root=earlier.document_root, writable=earlier.writable)


def conclude(node: Node, report: Report) -> None:
    """A run that left products out has not done what the document says, however well the others are."""
    noted = node.run_notes.read(Refusals).products
    if noted and not report.left_out:
        node.run_notes.remove(Refusals)
    if not report.left_out:
        return
    faults = {name: ConfigFault(noted[name].reason, noted[name].hint) for name in report.left_out if name in noted}
    fault = ConfigFault(*_in_words(faults))
    if report.exit_code:
        report.warn(fault.message)
    else:
        report.failed(fault, "refused" if report.outcome == "unchanged" else "incomplete")


def _in_words(faults: Mapping[str, ConfigFault]) -> tuple[str, str]:
    """The message and the hint of one or of several refusals."""
    hints = dict.fromkeys(fault.hint for fault in faults.values() if fault.hint)
    if len(faults) == 1:
        [fault] = faults.values()
        return fault.message, fault.hint
    reasons = "\n".join(f"  {name}: {fault.message}" for name, fault in faults.items())
    return f"the releases of {len(faults)} products are refused:\n{reasons}", "; ".join(hints)
