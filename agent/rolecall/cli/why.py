"""`why FILE[:LINE]`: from a rendered line back to its template, the document's keys, the serial and the signer."""

import argparse
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rolecall.cli.command import Command
from rolecall.cli.tables import plain, print_paragraph, print_table
from rolecall.cli.terminal import console
from rolecall.errors import HostFault
from rolecall.fleet.assignment import Assignment
from rolecall.forms.mistakes import suggest
from rolecall.forms.positions import toml_positions
from rolecall.host import attachments, files
from rolecall.host.generations import MANIFEST
from rolecall.host.roles import read_role, roles_folder
from rolecall.image.role import bare_role
from rolecall.node.node import Node, open_ready_node
from rolecall.render.contents import Attachment
from rolecall.render.generation import Generation, ManagedFile
from rolecall.render.origins import DOCUMENT, MACHINE, ROLE, SETTINGS
from rolecall.render.role import parse_table
from rolecall.render.tracing import TracedLine, trace_attachment
from rolecall.settings import load_settings
from rolecall.steps.provenance import Provenance, counterparts, provenance

_SOURCES = {DOCUMENT: "", ROLE: "  (of role.toml)", SETTINGS: "  (of agent.toml)", MACHINE: "  (this machine's)"}
_RELAID = "has another content than `rolecall image attach` lays"


def why(arguments: argparse.Namespace) -> Provenance:
    """`why`. Raises HostFault for a file that rolecall has not written, with what else may have."""
    node = open_ready_node(load_settings(arguments.config))
    name, line = _name_and_line(arguments.file)
    if rendered := _rendered(node, name):
        return provenance(node, *rendered, line)
    bare = bare_role(node, node.settings.role)
    places = {attachments.path_of(each, node.settings.paths.root): each for each in bare.attachments}
    if attachment := places.get(Path(os.path.abspath(name))):
        return _of_attachment(node, attachment, line)
    raise _foreign(node, name, [str(place) for place in places])


def _name_and_line(text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(.+):([0-9]{1,9})", text, re.DOTALL)
    return (match[1], int(match[2])) if match and not os.path.lexists(text) else (text, None)


def _rendered(node: Node, name: str) -> tuple[Generation, ManagedFile] | None:
    """The file of a generation, by any path that leads to it, or by its name in the current one."""
    folder, real = os.path.realpath(node.generations.folder), os.path.realpath(name)
    current = node.generations.current()
    if real.startswith(f"{folder}/"):
        generation, _, path = real.removeprefix(f"{folder}/").partition("/")
    elif current and not os.path.isabs(name) and not os.path.lexists(name):
        generation, path = current, name
    else:
        return None
    loaded = node.generations.load(generation)
    file = loaded.file(path) if loaded else None
    if loaded and file:
        return loaded, file
    if path == MANIFEST:
        raise HostFault(f"{real} is the agent's own list of the generation", "`rolecall plan` shows what it renders")
    if loaded is None:
        raise HostFault(f"the generation {generation} cannot be read", "`rolecall refresh` puts a current one back")
    paths = [file.path for file in loaded.files]
    raise HostFault(
        f"there is no file {path} in the generation {generation[:12]}",
        suggest(path, paths, f"it has: {', '.join(paths)}"),
    )


def _of_attachment(node: Node, attachment: Attachment, line: int | None) -> Provenance:
    """A fixed place: a link, or a file with a content of its own."""
    settings = node.settings
    path = attachments.path_of(attachment, settings.paths.root)
    if attachment.content is None:
        target = files.read_link(path)
        note = f"a link to {target}" if target else "not in place: `rolecall image attach` lays it"
        return _attached(node, attachment, line, (note,))
    rendered = attachment.content.split("\n")
    on_disk = (files.read(path) or b"").decode("utf-8", "replace").split("\n")
    answer = _attached(node, attachment, line, () if on_disk == rendered else (f"{path} {_RELAID}",))
    traced = trace_attachment(
        read_role(roles_folder(settings.paths.templates), settings.role),
        Assignment("image", "image", settings.role, "none", "127.0.0.1", ()),
        node.render_settings,
        attachment.path,
    )
    if not traced:
        return replace(answer, notes=(*answer.notes, "the agent itself lays it: its daemon starts after the agent"))
    if line is None:
        return replace(answer, keys=tuple(dict.fromkeys(key for each in traced for key in each.origins)))
    place = counterparts(on_disk, [each.text for each in traced]).get(line - 1)
    if place is None:
        return replace(answer, template="", notes=(*answer.notes, f"line {line} is not from rolecall"))
    return _with_line(answer, traced[place])


def _with_line(answer: Provenance, traced: TracedLine) -> Provenance:
    """`template_lines` begins as the line of role.toml where the content begins."""
    lines = tuple(answer.template_lines[0] + line - 1 for line in traced.template_lines)
    return replace(answer, text=traced.text, template_lines=lines, keys=traced.origins)


def _attached(node: Node, attachment: Attachment, line: int | None, notes: tuple[str, ...]) -> Provenance:
    template, place = _place_in_role(node, attachment)
    return Provenance(
        file=str(attachments.path_of(attachment, node.settings.paths.root)),
        line=line,
        text=None,
        generation="",
        current=True,
        template=template,
        template_lines=(place,) if template else (),
        keys=(),
        units=(),
        fleet="",
        serial=None,
        signer="",
        source="",
        notes=("laid by `rolecall image attach`", *notes),
    )


def _place_in_role(node: Node, attachment: Attachment) -> tuple[str, int]:
    """The role.toml that has the attachment, and the line where its content or its table begins; '' where none has."""
    folder = roles_folder(node.settings.paths.templates)
    role = read_role(folder, node.settings.role)
    order = [each.path for each in bare_role(node, role.name).attachments]
    specs = dict(zip(order, role.table.attachment, strict=False))
    for name in (role.name, *role.table.include):
        path = folder / name / "role.toml"
        text = path.read_text("utf-8")
        table = parse_table(text, str(path)).attachment
        if (spec := specs.get(attachment.path)) in table:
            positions, place = toml_positions(text), ("attachment", table.index(spec))
            line = positions.get((*place, "content"), positions.get((*place, "path"), (1, 1)))[0]
            return str(path), line + text.split("\n")[line - 1].rstrip().endswith('"""')
    return "", 0


def _foreign(node: Node, name: str, places: Iterable[str]) -> HostFault:
    """Who else may have written a file."""
    state, real = os.path.realpath(node.settings.state), Path(os.path.realpath(name))
    if not real.exists():
        hint = suggest(name, places, "a path, or the name that `rolecall plan` shows, such as apache/50-blog.conf")
        return HostFault(f"there is no file {name}, and rolecall has rendered none of this name", hint)
    kind, _, rest = str(real).removeprefix(f"{state}/").partition("/")
    product = rest.partition("/")[0]
    if not real.is_relative_to(state):
        hint = "a package (dpkg -S or rpm -qf name it), another tool or a person"
        return HostFault(f"{real} is not from rolecall", f"it may be from {hint}")
    owners = {
        "releases": f"the release of {product}: its archive brings this file as it is",
        "shared": f"the product {product}, which wrote it",
        "private": f"the product {product}, which wrote it",
    }
    owner = (product and owners.get(kind)) or "the agent, which keeps its state there: docs/reference/state.md"
    return HostFault(f"{real} is not rendered", f"it is from {owner}")


def show_why(answer: Provenance) -> None:
    """`why`: what it is, then a line for each thing that it comes from."""
    out = console()
    at = f":{answer.line}" if answer.line else ""
    generation = f" of generation {answer.generation[:12]}{', current' if answer.current else ''}"
    print_paragraph(out, f"{answer.file}{at}{generation if answer.generation else ''}", "bold")
    if answer.text is not None:
        out.print(f"  {answer.text.strip()}")
    print_table(out, [plain(f"{name:<8}", text) for name, text in _rows(answer)])
    for note in answer.notes:
        print_paragraph(out, f"note: {note}", "yellow")


def _rows(answer: Provenance) -> Iterator[tuple[str, str]]:
    """What it comes from, each in a line."""
    if answer.template:
        lines = ",".join(map(str, answer.template_lines))
        yield "template", f"{answer.template}{f':{lines}' if lines else ''}"
    for key in answer.keys:
        yield "key", f"{key.key} = {key.value}{_SOURCES[key.source]}"
    if answer.text is not None and answer.template and not answer.keys:
        yield "key", "none: this is the template's own text"
    if answer.fleet and answer.template:
        signer = f"signed by {answer.signer}" if answer.signer else "not signed"
        serial = f"serial {answer.serial} of {answer.fleet}, {signer}" if answer.serial else "an earlier one"
        yield "document", f"{serial}{f', from {answer.source}' if answer.source else ''}"
    if answer.units:
        yield "read by", ", ".join(answer.units)


WHY = Command(why, show_why)
