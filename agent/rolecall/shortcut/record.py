"""What a run that found or made all well leaves to the next refresh: how to see that nothing has moved."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import rolecall
from rolecall.database.dialects import DIALECTS
from rolecall.errors import HostFault
from rolecall.host import attachments
from rolecall.host.accounts import account_files
from rolecall.host.roles import included_roles, roles_folder
from rolecall.node.node import Node
from rolecall.node.notes import Hold
from rolecall.node.verified import Verified, path_of
from rolecall.render.contents import Replication
from rolecall.render.generation import Generation
from rolecall.shortcut import look, stamps
from rolecall.store import DOCUMENT
from rolecall.trust.verification import Document


def leave_stamps(node: Node, document: Document, generation: Generation, before: Mapping[str, str]) -> None:
    """Leave the stamps of what was read (`before`, taken before that) and made, and how to revalidate the document."""
    if document.degraded or document.revalidation is None:
        return
    for name, text in node.providers.signing_files().items():
        stamps.write_signing_file(node.settings.run / name, text)
    marks = {**stamps.stamps_of(result_paths(node, generation)), **before}
    revalidation = document.revalidation
    if revalidation:
        revalidation += f"\t{path_of(node.settings.state, node.notes.read(Verified).document)}"
    questions = revalidation, question_to_database(generation.replication)
    stamps.write_record(node.settings.run, questions, marks, node.settings.refresh.full_every)


def question_to_database(replication: Replication | None) -> str:
    """What a refresh asks the database server of this node, and the answer while all is well; '' if it has none.

    Raises HostFault if it does not answer.
    """
    if replication is None or not replication.duties:
        return ""
    statement = DIALECTS[replication.dialect].look.format(seconds=round(replication.max_ack_wait))
    try:
        return f"{replication.socket}\t{statement}\t{look.answer(replication.socket, statement)}"
    except (OSError, ValueError) as error:
        raise HostFault(f"the database server does not answer at {replication.socket}: {error}") from error


def source_paths(node: Node) -> Iterator[str]:
    """Every path that a run reads before it knows the node's products. While none moves, there is nothing to learn."""
    yield from node.store.watched_paths(DOCUMENT)
    yield from filter(None, (node.settings.trust.signers, node.settings.trust.revoked))
    yield from node.settings.credentials_files
    yield from (source.partition(":")[2] for source in node.sources if source.startswith("file:"))
    folder = roles_folder(node.settings.paths.templates)
    for role in (node.settings.role, *included_roles(folder, node.settings.role)):
        yield from map(str, (folder / role).glob("*"))
    yield str(Path(rolecall.__file__).parent)


def result_paths(node: Node, generation: Generation) -> Iterator[str]:
    """Every path that a run makes or goes by. While none moves, there is nothing to put right."""
    settings, state = node.settings, node.settings.state
    live = node.generations.load(node.generations.current()) or generation
    yield from (str(state / name) for name in ("current", "ready"))
    yield from (str(path) for kind in (Hold, Verified) for path in node.notes.paths(kind))
    yield str(path_of(state, node.notes.read(Verified).document))
    folder = node.generations.folder / live.id
    yield from (str(path) for path in (folder, *folder.rglob("*")))
    for release in live.releases:
        yield from node.releases.watched_paths(release)
    yield from (str(attachments.path_of(attachment, settings.paths.root)) for attachment in live.attachments)
    if live.accounts:
        yield from account_files(settings.paths.root)
    for unit in live.units:
        if node.manager.manages(unit):
            yield str(node.loaded.path(unit))
            if unit.direct:  # a daemon that was started behind our back has lost what it was told while it ran
                yield unit.direct.pidfile
