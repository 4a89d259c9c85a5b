"""What a person sees of the answers about an image."""

from collections.abc import Sequence

from rolecall.cli.answers import AttachedPaths, DetachedPaths, ImageCheck, RoleInstallation
from rolecall.cli.terminal import console


def show_check(answer: ImageCheck) -> None:
    """`image check`: what was mended, and what is left with its remedy."""
    out = console()
    for finding in answer.mended:
        out.print(f"✓ {finding.name}: mended: {finding.what}", style="green")
    for finding in answer.findings:
        out.print("✗", style="red", end=" ")
        remedy = f"\n  remedy: {finding.remedy}" if finding.remedy else ""
        out.print(f"{finding.name}: {finding.what}{remedy}")
    if not answer.findings:
        out.print("✓ nothing is wrong with it", style="green")


def show_attached(answer: AttachedPaths) -> None:
    """`image attach`."""
    _print_paths("laid", answer.paths)


def show_detached(answer: DetachedPaths) -> None:
    """`image detach`."""
    _print_paths("took away", answer.paths)


def show_role(answer: RoleInstallation) -> None:
    """`image install`."""
    print(f"this machine has the role {answer.role}")


def _print_paths(verb: str, paths: Sequence[str]) -> None:
    print("\n".join(f"{verb} {path}" for path in paths) or "nothing to do")
