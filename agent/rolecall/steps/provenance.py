"""Where a file of this node, and each of its lines, comes from: by rendering it once more from what is kept here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from rolecall.errors import ConfigFault, Fault, HostFault
from rolecall.fleet.assignment import assign
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import Fleet, parse_fleet
from rolecall.forms.answers import Answer
from rolecall.host import files
from rolecall.host.roles import read_role, roles_folder
from rolecall.node.node import Node
from rolecall.node.notes import identity_in_this_boot
from rolecall.node.owner import own_folder, own_verified
from rolecall.node.verified import read_document
from rolecall.render.generation import Generation, ManagedFile, shown
from rolecall.render.origins import Origin, Reads, sourced
from rolecall.render.role import FileSpec
from rolecall.render.tracing import TracedFile, TracedLine, trace
from rolecall.steps.planning import release_templates
from rolecall.steps.products import as_in
from rolecall.trust.envelope import unseal

BY_HAND = "changed by hand: the next run puts it back"
_OTHERWISE = "was not rendered from the document and the templates that are on this node now"


@dataclass(frozen=True)
class Provenance(Answer):
    """Where a file comes from, or one line of it. A secret is shown by its name, its key's value is the reference.

    `keys`: without a line those that the template looks at, with a line those whose values it has.
    """

    file: str  # within the generation; of an attachment its path
    line: int | None
    text: str | None  # of the line, as it was rendered
    generation: str
    current: bool
    template: str
    template_lines: tuple[int, ...]
    keys: tuple[Origin, ...]
    units: tuple[str, ...]  # the daemons that read it
    fleet: str
    serial: int | None  # of the newest document that gives this file
    signer: str
    source: str
    notes: tuple[str, ...]


def provenance(node: Node, generation: Generation, file: ManagedFile, line: int | None) -> Provenance:
    """Where a file of a generation of this node comes from. Raises HostFault where it has no such line."""
    rendered = generation.with_tags(file.text).split("\n")
    on_disk = _lines_on_disk(node, generation, file)
    last = len(on_disk) - (not on_disk[-1])  # a text ends with a newline, and no line begins behind it
    if line is not None and not 1 <= line <= last:
        raise HostFault(f"{file.path} has no line {line}", f"its lines are 1 to {last}")
    answer = replace(_of_file(node, generation, file), line=line)
    if on_disk != rendered:
        answer = replace(answer, notes=(*answer.notes, f"{file.path} was {BY_HAND}"))
    traced = None
    try:
        traced = _traced(node, generation, file)
    except (Fault, ValueError) as error:
        why = error.message if isinstance(error, Fault) else f"the document that is kept here: {error}"
        answer = replace(answer, notes=(*answer.notes, f"nothing more can be told: {why}"))
    if traced is None:
        return answer
    if traced.file.text != file.text:
        answer = _of_report(node, replace(answer, notes=(*answer.notes, f"{file.path} {_OTHERWISE}")))
    answer = replace(answer, template=_template(node, traced.spec))
    if line is None:
        return replace(answer, keys=traced.origins)
    return _with_line(answer, rendered, on_disk, traced, generation)


def _with_line(
    answer: Provenance, rendered: Sequence[str], on_disk: Sequence[str], traced: TracedFile, generation: Generation
) -> Provenance:
    """The answer about its line, which is that of the file on disk, and not everywhere that of the text rendered."""
    assert answer.line is not None
    place = counterparts(on_disk, rendered).get(answer.line - 1)
    if place is None:
        return replace(answer, template="", notes=(*answer.notes, f"line {answer.line} was {BY_HAND}"))
    answer = replace(answer, text=shown(rendered[place]))
    lines = [generation.with_tags(line.text) for line in traced.lines]
    place = counterparts(rendered, lines).get(place)
    if place is None:
        return replace(answer, template="", notes=(*answer.notes, f"line {answer.line} {_OTHERWISE}"))
    line: TracedLine = traced.lines[place]
    return replace(answer, template_lines=line.template_lines, keys=line.origins)


def counterparts(lines: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """Which line is which of the others, counted from 0; one that has none is left out."""
    blocks = SequenceMatcher(None, lines, others, autojunk=False).get_matching_blocks()
    return {block.a + i: block.b + i for block in blocks for i in range(block.size)}


def _lines_on_disk(node: Node, generation: Generation, file: ManagedFile) -> list[str]:
    """What daemons read; what never is on disk is as it was rendered."""
    rendered = generation.with_tags(file.text)
    if file.path in generation.unstaged:
        return rendered.split("\n")
    content = files.read(node.generations.folder / generation.id / file.path)
    if content is None:
        return [""]
    return generation.lines_as_rendered(file, content.decode("utf-8", "replace"))


def _of_file(node: Node, generation: Generation, file: ManagedFile) -> Provenance:
    verified, current = own_verified(node), node.generations.current()
    notes: tuple[str, ...] = ()
    if generation.id != current:
        notes = (f"this is not what daemons read: current is generation {(current or 'none')[:12]}",)
    return Provenance(
        file=file.path,
        line=None,
        text=None,
        generation=generation.id,
        current=generation.id == current,
        template="",
        template_lines=(),
        keys=(),
        units=file.units,
        fleet=verified.fleet,
        serial=verified.serial or None,
        signer=verified.signer,
        source=verified.source,
        notes=notes,
    )


def _report(node: Node, generation: str) -> dict[str, Any]:
    """The report of the last run that wanted a generation, if it is there."""
    reports = node.reports.last(len(node.reports.paths()))
    return next((report for report in reports if report["generation"] == generation), {})


def _of_report(node: Node, answer: Provenance) -> Provenance:
    """The answer with serial, signer and source of the last run that wanted this generation, if its report is there."""
    report = _report(node, answer.generation)
    serial, signer, source = report.get("serial"), report.get("signer", ""), report.get("source", "")
    return replace(answer, serial=serial or None, signer=signer, source=source)


def _traced(node: Node, generation: Generation, file: ManagedFile) -> TracedFile | None:
    """The file as it would be rendered now. Raises Fault or ValueError where it cannot be."""
    settings, reads = node.settings, Reads()
    verified = own_verified(node)
    identity = identity_in_this_boot(node.run_notes) or Identity(instance=verified.instance, server=verified.server)
    fleet = _kept_document(node)
    role = read_role(roles_folder(settings.paths.templates), settings.role)
    assignments = (assign(identity, document, settings.role) for document in (fleet, sourced(fleet, reads)))
    names = _report(node, generation.id).get("left_out", {})
    plain, traced = (as_in(generation, assignment, names) for assignment in assignments)
    templates = release_templates(node, role, plain, dry=True)
    return trace(role, traced, node.render_settings, templates, reads, file.path)


def _kept_document(node: Node) -> Fleet:
    """What the last verified document says; where none was verified yet, what the seed says."""
    verified, folder, seed = own_verified(node), own_folder(node), node.settings.paths.seed
    raw = read_document(folder, verified.document) if folder else None
    source = verified.source
    if raw is None and seed:
        raw, source = files.read(Path(seed)), seed
    if raw is None:
        raise ConfigFault("no document is kept on this node", "the next run keeps one: rolecall refresh")
    return parse_fleet(unseal(raw, source).payload, source)


def _template(node: Node, spec: FileSpec) -> str:
    """The template's own path."""
    if spec.release:
        return f"{spec.source} in the product's release"
    folder = roles_folder(node.settings.paths.templates)
    return str(folder / (spec.source if "/" in spec.source else f"{node.settings.role}/{spec.source}"))
