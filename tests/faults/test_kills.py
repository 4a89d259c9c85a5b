"""A run may be killed anywhere: the next one completes it, and no daemon ever sees half of anything.

Each point is a real SIGKILL of a real run, in a child of the test's process, right before or right after one of its
operations: a change of a file, a signal to a daemon, a program. Then the links are looked at, a run goes to its end
undisturbed, and the node is compared with one that was never killed: files, modes, owners, links, what the agent
believes its daemons to have loaded, and what they have really read.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from faults.operations import Operation, broken_off, die, in_a_child, listed
from faults.tiny import Known, Nodes, State, Tiny, picture
from rolecall.host import files
from rolecall.host.units import LoadedDigests
from sampling import some_of

Point = tuple[int, str]


@dataclass
class Story:
    """A node before a run, the run, and the node that it becomes where nobody disturbs it."""

    tiny: Tiny
    known: Known
    act: Callable[[], object]
    again: Callable[[], object] | None = None  # the next run, where it is another one
    first: bool = False  # there may be no links yet
    damaged: bool = False  # what is live is not whole before the run
    operations: Sequence[Operation] = ()
    ends: list[State] = field(default_factory=list)  # that a node may have which was killed
    completed: set[object] = field(default_factory=set)  # what runs have found and completed

    def __post_init__(self) -> None:
        """Go through it once undisturbed, and learn from it."""
        self.tiny.keep("before")
        self.act()  # what a process finds out once, this one knows from here on
        self.begin()
        self.operations = listed(self.act)
        self.ends.insert(0, self.known.learn(self.tiny))
        assert self.known.faults(picture(self.tiny.state)) == []
        self.again = self.again or self.act
        self.again()
        assert self.ends[0].differences(self.tiny.look()) == [], "what is done is done"

    def points(self, first: str = "", last: str = "") -> list[Point]:
        """The points from the first operation that mentions `first` to the last that mentions `last`.

        After each one, which while staging is before the next one too; from then on also before each one.
        """
        mentions = [str(one) for one in self.operations]
        start = next(at for at, text in enumerate(mentions) if first in text)
        end = max(at for at, text in enumerate(mentions) if last in text)
        staged = max((at for at, text in enumerate(mentions) if "/.stage-" in text), default=-1)
        found = [(at, when) for at in range(start, end + 1) for when in ("before", "after")]
        return [(at, when) for at, when in found if when == "after" or at > staged or at == start]

    def begin(self) -> None:
        """The node as it was before the run."""
        if self.first:
            self.tiny.stop()
        self.tiny.come_back("before")

    def kill(self, point: Point) -> list[str]:
        """The node as it was, and a run on it that is killed. Returns what is wrong then."""
        self.begin()

        def doomed() -> int:
            with broken_off(*point, die):
                self.act()
            return 0

        assert in_a_child(doomed) == -9, f"the run was over before {self.name(point)}"
        seen = [] if self.damaged else self.known.faults(picture(self.tiny.state), first=self.first)
        return [f"at once: {fault}" for fault in seen + self.known.mixed(self.tiny)]

    def violations(self, point: Point) -> list[str]:
        """Kill a run, look, and let another one complete it; once for every node that is the same to the byte."""
        assert self.again is not None
        found = self.kill(point)
        left = self.tiny.fingerprint()
        if left in self.completed:
            return found
        self.completed.add(left)
        self.again()
        found += [f"then: {fault}" for fault in self.known.mixed(self.tiny)]
        differences = [end.differences(self.tiny.look()) for end in self.ends]
        found += [f"in the end: {one}" for one in min(differences, key=len)]
        return [f"killed {self.name(point)}: {one}" for one in found]

    def name(self, point: Point) -> str:
        """In words."""
        at, when = point
        return f"{when} operation {at} ({self.operations[at]})"


def booted(tiny: Tiny, *products: str) -> Known:
    """Make it a node of the edition a."""
    known = Known()
    tiny.publish("a", *products)
    assert tiny.converge("boot").outcome == "ready"
    known.learn(tiny)
    assert tiny.look().read["one"].startswith("a ")
    return known


def first_boot(nodes: Nodes) -> Story:
    """From nothing to the edition a."""
    tiny = nodes()
    tiny.publish("a", "blog", "video")
    return Story(tiny, Known(), partial(tiny.converge, "boot"), first=True)


def change(nodes: Nodes, *, restart: bool = False) -> Story:
    """From the edition a to b: every file, every release."""
    tiny = nodes(restart=restart)
    known = booted(tiny, "blog", "video")
    tiny.publish("b", "blog", "video")
    return Story(tiny, known, tiny.converge)


def failure(nodes: Nodes) -> Story:
    """From the edition a to one whose self-tests fail, and back."""
    tiny = nodes()
    known = booted(tiny, "blog", "video")
    tiny.publish("bad", "blog", works=False)
    return Story(tiny, known, tiny.converge)


def removal(nodes: Nodes) -> Story:
    """From two products to one, with nothing of the other kept."""
    tiny = nodes(keep=1)
    known = booted(tiny, "blog", "video")
    tiny.publish("b", "video")
    return Story(tiny, known, tiny.converge)


def repair(nodes: Nodes) -> Story:
    """Somebody changed files of the live generation."""
    tiny = nodes()
    known = booted(tiny, "blog", "video")
    live = tiny.state / "current"
    (live / "motd").unlink()
    (live / "stray").write_text("?")
    (live / "two/main.conf").chmod(0o600)
    return Story(tiny, known, tiny.converge, damaged=True)


def exposure(nodes: Nodes) -> Story:
    """Somebody opened a file of a release that is live to all; daemons read in it what they read before."""
    tiny = nodes()
    known = booted(tiny, "blog", "video")
    next((tiny.state / "releases/blog").glob("*/public/index.html")).chmod(0o666)
    return Story(tiny, known, tiny.converge, damaged=True)


def way_back(nodes: Nodes) -> Story:
    """An operator's roll-back from b to a."""
    tiny = nodes()
    known = booted(tiny, "blog", "video")
    a = os.readlink(tiny.state / "current").rpartition("/")[2]
    tiny.publish("b", "blog", "video")
    tiny.converge()
    before = known.learn(tiny)
    return Story(tiny, known, partial(tiny.go_back, a), again=tiny.converge, ends=[before])


def refusal(nodes: Nodes) -> Story:
    """From the edition a to one that a validator refuses."""
    tiny = nodes()
    known = booted(tiny, "blog", "video")
    tiny.publish("refused", "blog")
    return Story(tiny, known, tiny.converge)


# A story, the operation from which on it is killed (staging is the same in all of them), and the least points there.
STORIES: list[tuple[Callable[[Nodes], Story], str, int]] = [
    (first_boot, "", 200),
    (change, "/.stage", 100),
    (failure, "/current", 90),
    (removal, "/ready", 90),
    (exposure, "", 60),
    (repair, "", 80),
    (way_back, "", 80),
    (refusal, "/generation.json", 30),
]


@pytest.mark.parametrize(("make", "first", "least"), STORIES, ids=[one[0].__name__ for one in STORIES])
def test_a_run_that_was_killed_anywhere_is_completed_by_the_next_one(
    make: Callable[[Nodes], Story], first: str, least: int, nodes: Nodes
) -> None:
    story = make(nodes)
    points = story.points(first)
    assert len(points) >= least
    tried = some_of(points, 16)
    found = [fault for point in tried for fault in story.violations(point)]
    print(f"{len(tried)} of {len(points)} points, {len(story.completed)} different nodes")
    assert found == []


def test_the_mask_of_whoever_runs_the_agent_leaves_no_folder_closed(nodes: Nodes) -> None:
    open_to_all = first_boot(nodes)
    os.umask(0o077)
    story = first_boot(nodes)
    for path, entry in open_to_all.ends[0].picture.items():
        mine = story.ends[0].picture.get(path, entry)  # a generation's name depends on where the node lies
        assert entry[0] == "link" or mine[1] == entry[1], path
    every = [(at, when) for at, when in story.points() if (story.operations[at].name, when) == ("mkdir", "after")]
    points = some_of(every, 12)
    print(f"{len(points)} points")
    assert [fault for point in points for fault in story.violations(point)] == []


def test_units_that_have_to_restart_are_told_as_surely(nodes: Nodes) -> None:
    story = change(nodes, restart=True)
    points = some_of([point for point in story.points("/current", "loaded/two") if point[1] == "after"], 12)
    print(f"{len(points)} points")
    assert [fault for point in points for fault in story.violations(point)] == []


def test_where_namespaces_are_refused_a_killed_run_leaves_no_refused_configuration_behind(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = nodes()
    refusing = tiny.root / "bin/unshare"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{refusing.parent}:{os.environ['PATH']}")
    known = booted(tiny, "blog", "video")
    tiny.publish("refused", "blog")
    story = Story(tiny, known, tiny.converge)
    points = some_of(story.points("/current"), 12)
    print(f"{len(points)} points")
    assert [fault for point in points for fault in story.violations(point)] == []


def test_with_a_document_that_is_refused_the_run_before_is_completed_all_the_same(nodes: Nodes) -> None:
    story = change(nodes)
    points = some_of(story.points("/current", "/ready"), 16)
    print(f"{len(points)} points")
    for point in points:
        found = story.kill(point)
        with story.tiny.published(None):
            assert story.tiny.converge().exit_code == 78
        found += story.known.mixed(story.tiny) + story.known.faults(picture(story.tiny.state))
        now = story.tiny.look()
        assert found == [], story.name(point)
        assert now.picture["current"] == now.picture["ready"], story.name(point)
        edition = (story.tiny.state / "current/motd").read_text().split()[1]
        assert {line.split()[0] for line in now.read.values()} == {edition}, story.name(point)


def come_again(story: Story, point: Point) -> list[str]:
    """Kill a run while it removes what is old, and want just that again."""
    found = story.kill(point)
    with story.tiny.published("a", "blog", "video"):
        story.tiny.converge()
    found += story.known.faults(picture(story.tiny.state)) + story.known.mixed(story.tiny)
    found += [line for line in story.tiny.look().read.values() if not line.startswith("a ")]
    return [f"killed {story.name(point)}: {one}" for one in found]


def test_daemons_that_a_killed_run_has_told_are_told_again_where_the_old_document_comes_back(nodes: Nodes) -> None:
    story = change(nodes)
    points = some_of(story.points("/current", "loaded/two"), 16)
    print(f"{len(points)} points")
    assert [fault for point in points for fault in come_again(story, point)] == []


def test_a_note_of_what_a_daemon_has_loaded_that_is_kept_while_it_is_told_would_be_found_out(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LoadedDigests, "forget", lambda *_: None)
    story = change(nodes)
    assert any(come_again(story, point) for point in story.points("/current", "loaded/two"))


def test_what_a_killed_run_had_begun_to_remove_comes_back_whole(nodes: Nodes) -> None:
    story = removal(nodes)
    points = some_of(story.points("/ready"), 24)
    print(f"{len(points)} points")
    assert [fault for point in points for fault in come_again(story, point)] == []


def test_a_folder_that_is_removed_under_its_own_name_would_be_found_out(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "discard", files.remove_tree)
    story = removal(nodes)
    points = [(at, when) for at, when in story.points("/ready") if when == "before"]
    assert any(come_again(story, point) for point in points)


def test_a_link_that_is_removed_before_it_is_made_anew_would_be_found_out(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def point_in_two(link: Path, target: str) -> None:
        files.remove(link)
        files.make_link(link, target)

    monkeypatch.setattr(files, "point", point_in_two)
    story = change(nodes)
    assert any(story.violations(point) for point in story.points("/current", "/current"))


def test_what_a_killed_run_left_among_the_reports_is_gone_with_the_next_report(nodes: Nodes) -> None:
    story = change(nodes)
    reports = story.tiny.state / "reports"
    left = None
    for point in reversed(story.points("/reports/", "/reports/")):  # the last one at which a report is half written
        story.kill(point)
        if left := next((path for path in reports.iterdir() if path.name.startswith(".")), None):
            break
    assert left is not None
    story.tiny.publish("c", "blog")
    story.tiny.converge()
    assert not left.exists()
