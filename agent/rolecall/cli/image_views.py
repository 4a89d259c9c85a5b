"""What a person sees of the answers about an image."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rolecall.cli.answers import AttachedPaths, DetachedPaths, ImageCheck, RoleInstallation
from rolecall.cli.tables import print_faults, print_marked
from rolecall.cli.terminal import console


def show_check(answer: ImageCheck) -> None:
    """`image check`: what was mended, and what is left with its remedy."""
    out, faults = console(), defaultdict[str, list[str]](list)
    for finding in answer.mended:
        print_marked(out, "✓", f"{finding.name}: mended: {finding.what}", "green")
    for finding in answer.findings:
        faults[finding.remedy].append(f"{finding.name}: {finding.what}")
    for remedy, words in faults.items():
        print_faults(out, words, remedy)
    if not answer.findings:
        out.print("✓ nothing is wrong with it", style="green")


def show_attached(answer: AttachedPaths) -> None:
    """`image attach`."""
    _print_paths("laid", [_with_kept(path, answer.kept) for path in answer.paths])


def show_detached(answer: DetachedPaths) -> None:
    """`image detach`."""
    _print_paths("took away", answer.paths)


def show_role(answer: RoleInstallation) -> None:
    """`image install`."""
    print(f"this machine has the role {answer.role}")


def _with_kept(path: str, kept: Mapping[str, str]) -> str:
    return f"{path} (what stood there is {kept[path]} now)" if path in kept else path


def _print_paths(verb: str, paths: Sequence[str]) -> None:
    print("\n".join(f"{verb} {path}" for path in paths) or "nothing to do")
