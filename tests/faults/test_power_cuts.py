"""The power may fail at any moment: what the disk has then is an old or a new node, and the next boot completes it.

A run is recorded, operation by operation, and a model of a disk (disk.py) builds every image that a power cut may leave
after each of them. Each image is looked at: do `current` and `ready` lead to whole generations with whole releases?
Some of them, evenly spread, are laid on a real disk, and a real run with no daemon and an empty /run completes them.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from faults.disk import Disk, Event, lay, recorded
from faults.test_kills import Story, booted, change, exposure, failure, first_boot, removal, repair
from faults.tiny import Nodes, Picture, picture
from sampling import LONG, some_of

BOOTS = 25 if LONG else 3  # of each story


@dataclass
class Cuts:
    """The images of a story's run."""

    story: Story
    deaf: tuple[str, ...] = ()
    before: Picture = field(init=False)
    events: list[Event] = field(init=False)
    after: Picture = field(init=False)

    def __post_init__(self) -> None:
        """Record the run."""
        self.story.begin()
        self.before = picture(self.story.tiny.state)
        self.events = recorded(self.story.tiny.state, self.story.act, deaf=self.deaf)
        self.after = picture(self.story.tiny.state)
        disk = Disk(self.story.tiny.state.name, self.before)
        for event in self.events:
            disk.do(event)
        for inode in disk.everything():
            inode.sync()
        assert next(disk.images()) == self.after, "the model of the disk shows what is really there"

    def images(self, *, since: int = 0) -> Iterator[tuple[str, Picture]]:
        """Each image once, with the operation after which the power failed, from one of them on."""
        disk, seen = Disk(self.story.tiny.state.name, self.before), set[int]()
        for at, event in enumerate(self.events):
            disk.do(event)
            if at < since:
                continue
            for image in disk.images():
                key = hash(frozenset(image.items()))
                if key not in seen:
                    seen.add(key)
                    yield f"after operation {at} ({event[0]} {event[-1]})", image

    def faults(self, where: str, image: Picture) -> list[str]:
        """Why no node may have this image."""
        if self.story.damaged:  # as it was before the run
            return []
        return [f"{where}: {fault}" for fault in self.story.known.faults(image, first=self.story.first)]


def growth(nodes: Nodes) -> Story:
    """From one product to three: what is new lies in new folders."""
    tiny = nodes()
    known = booted(tiny, "blog")
    tiny.publish("b", "blog", "shop", "video")
    return Story(tiny, known, tiny.converge)


# A story, and the least images of it.
STORIES: list[tuple[Callable[[Nodes], Story], int]] = [
    (first_boot, 500),
    (change, 500),
    (growth, 1000),
    (failure, 200),
    (removal, 500),
    (repair, 20),
    (exposure, 100),
]


@pytest.mark.parametrize(("make", "least"), STORIES, ids=[one[0].__name__ for one in STORIES])
def test_after_a_power_cut_the_links_lead_to_whole_generations_and_the_next_boot_completes_the_node(
    make: Callable[[Nodes], Story], least: int, nodes: Nodes
) -> None:
    story = make(nodes)
    cuts = Cuts(story)
    images = list(cuts.images())
    assert len(images) >= least
    step = max(1, len(images) // BOOTS)
    chosen = images[random.randrange(step) :: step]
    print(f"{len(images)} images, {len(chosen)} booted")
    assert [fault for one in some_of(images, 6) for fault in cuts.faults(*one)][:20] == []
    for where, image in cuts.images(since=len(cuts.events) - 1):
        assert (image["current"], image["ready"]) == (cuts.after["current"], cuts.after["ready"]), where
    for where, image in chosen:
        story.tiny.power_off()
        shutil.rmtree(story.tiny.state)
        lay(image, story.tiny.state)
        story.act()
        now = story.tiny.look().apparent()
        found = story.known.mixed(story.tiny) + min((end.apparent().differences(now) for end in story.ends), key=len)
        assert found == [], where


@pytest.mark.parametrize("deaf", [("fsync", "syncfs"), ("fsync",), ("syncfs",)], ids="+".join)
def test_a_run_that_does_not_sync_would_be_found_out(deaf: tuple[str, ...], nodes: Nodes) -> None:
    cuts = Cuts(change(nodes), deaf=deaf)
    switch = next(at for at, event in enumerate(cuts.events) if event[0] == "rename" and event[-1].endswith("/current"))
    assert any(cuts.faults(*one) for one in cuts.images(since=switch))
