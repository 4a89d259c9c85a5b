"""What a person sees of `fleet history`: who published what, and when."""

from rolecall.cli.tables import print_paragraph, print_table
from rolecall.cli.terminal import console
from rolecall.operator.lineage import FleetHistory, PastDocument

_MOST_CHANGES = 8  # in words; JSON has them all
_LONGEST_SIGNER = 30  # letters; the fingerprint of a key is longer
_SIGNS = {"add": "+", "remove": "-", "change": ""}


def print_history(answer: FleetHistory) -> None:
    """A row for each document; below, what is wrong with them, and what may be."""
    out = console()
    rows = [[(title, "dim") for title in ("serial", "issued", "signed by", "changes")]]
    for document in answer.documents:
        issued = f"{document.issued:%Y-%m-%d %H:%M}" if document.issued else ""
        texts = (str(document.serial), issued, _signer(document), _changes(document))
        rows.append([(text, "red" if document.problems else "") for text in texts])
    print_table(out, rows)
    for document in answer.documents:
        for problem in document.problems:
            print_paragraph(out, f"serial {document.serial} {problem}", "bold red")
        for note in document.notes:
            print_paragraph(out, f"serial {document.serial}: {note}", "yellow")


def _signer(document: PastDocument) -> str:
    """Whose name is not known is told by the beginning of the key's fingerprint."""
    signer = document.signer or "-"
    return signer if len(signer) <= _LONGEST_SIGNER else f"{signer[:_LONGEST_SIGNER]}…"


def _changes(document: PastDocument) -> str:
    """`products.blog.release, +servers.web9`."""
    if document.changes is None:
        return ""
    words = [f"{_SIGNS[change.action]}{change.path}" for change in document.changes[:_MOST_CHANGES]]
    rest = len(document.changes) - len(words)
    return ", ".join(words) + (f", and {rest} more" if rest else "") or "none"
