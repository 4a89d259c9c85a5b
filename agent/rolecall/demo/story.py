"""The story of `rolecall demo`: real Apache, real php-fpm, the real agent, one scratch folder."""

import copy
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolecall.demo import site
from rolecall.demo.folder_node import PROGRAM, FolderNode, build
from rolecall.demo.visitors import get, traffic
from rolecall.errors import HostFault
from rolecall.forms.answers import Answer
from rolecall.host import programs
from rolecall.node.node import open_node
from rolecall.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

_SETTINGS = """
[keep]
generations = 1   # so that a removed product's release goes at once
"""


@dataclass(frozen=True)
class Demonstration(Answer):
    """What has happened: the chapters, each with what was seen to be true, and the node, if it is still running."""

    chapters: Mapping[str, tuple[str, ...]]
    seconds: float
    running: bool
    folder: str
    store: str
    url: str


def run_story(folder: Path | None, *, keep: bool, out: "Console") -> Demonstration:
    """The whole story, printed as it happens. Raises HostFault where something did not happen as it should."""
    root = (folder or Path(tempfile.mkdtemp(prefix="rolecall-demo-"))).resolve()
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise HostFault(f"{root} is not empty", "name a new folder, or none")
    began = time.monotonic()
    node = build(root, settings=_SETTINGS)
    story = Story(node, site.document(node), out)
    try:
        story.run()
        if keep:
            story.put_back()
    finally:
        if not keep:
            stop(node)
    if folder is None and not keep:
        shutil.rmtree(root)
    return Demonstration(
        chapters={title: tuple(facts) for title, facts in story.chapters.items()},
        seconds=round(time.monotonic() - began, 1),
        running=keep,
        folder=str(root),
        store=str(node.store),
        url=f"http://{site.BLOG}:{node.port}/",
    )


def stop(node: FolderNode) -> None:
    """Stop every daemon of the node."""
    opened = open_node(load_settings(node.config))
    live = opened.generations.load(opened.generations.current())
    for unit in reversed(live.units if live else ()):
        if opened.manager.manages(unit):
            opened.manager.stop(unit)


@dataclass
class Story:
    """What the chapters share."""

    node: FolderNode
    document: dict[str, Any]
    out: "Console"
    chapters: dict[str, list[str]] = field(default_factory=dict)  # title → what was seen to be true

    def run(self) -> None:
        """Chapter by chapter."""
        self.boot()
        self.promote()
        self.mistakes()
        self.bad_release()
        self.remove()
        self.blame()

    def boot(self) -> None:
        """An empty machine becomes a web node."""
        root, user = self.node.root, "each product's processes run as its own user"
        if not self.node.as_root:
            user = "not root, so everything runs as this user"
        self.out.print(f"A web node in {root}, Apache on 127.0.0.1:{self.node.port}; {user}.")
        self.chapter("The machine boots: it learns who it is, reads the fleet document and becomes its role")
        site.publish(self.node, self.document)
        self.rolecall("image", "attach", show=False)
        self.rolecall("boot")
        self.expect(site.BLOG, "release 1, writes go to db1")
        self.expect(site.VIDEO, "release 7")

    def promote(self) -> None:
        """A new master reaches the pages, and no request is lost on the way."""
        self.chapter("The document promotes db2 to master: the node follows at its next refresh")
        self.document["databases"]["blog"] |= {"epoch": 2, "master": "db2", "candidate": "db1"}
        site.publish(self.node, self.document)
        with traffic(self.node) as answers:
            self.rolecall("refresh")
            time.sleep(0.5)
        if answers.lost:
            raise HostFault(f"{len(answers.lost)} of {answers.count} requests were lost: {answers.lost[0]}")
        self.confirm(f"{answers.count} requests meanwhile, none lost")
        self.expect(site.BLOG, "writes go to db2")

    def mistakes(self) -> None:
        """A wrong document is refused, whole."""
        self.chapter("A document with three mistakes is refused, and nothing changes")
        wrong = copy.deepcopy(self.document)
        wrong["products"]["blog"]["databses"] = ["blog"]
        wrong["products"]["blog"]["cron"][0]["schedule"] = "*/70 * * * *"
        wrong["servers"]["web1"]["products"] = ["blgo", "video"]
        site.publish(self.node, wrong)
        self.rolecall("refresh", code=78)
        self.expect(site.BLOG, "writes go to db2")
        self.document["serial"] = wrong["serial"]

    def bad_release(self) -> None:
        """A release that is not healthy does not stay."""
        self.chapter(
            "A release whose health page fails: the node rolls back by itself, code and configuration together"
        )
        old = copy.deepcopy(self.document["products"]["blog"])
        self.document["products"]["blog"]["release"] = site.blog(self.node, "2", health="database is gone")
        self.document["products"]["blog"]["environment"] = {"APP_ENV": "new"}
        site.publish(self.node, self.document)
        self.rolecall("refresh", code=1)
        self.expect(site.BLOG, "release 1, writes go to db2")
        self.document["products"]["blog"] = old

    def remove(self) -> None:
        """A product that is removed leaves nothing that runs."""
        self.chapter("The product blog is removed: its virtual host, pool, cron jobs and release go")
        del self.document["products"]["blog"]
        self.document["servers"]["web1"]["products"] = ["video"]
        site.publish(self.node, self.document)
        self.rolecall("refresh")
        state = self.node.state
        left = [path for path in (state / "current").resolve().rglob("*") if "blog" in path.name]
        if left or (state / "releases/blog").exists() or "blog" in (state / "current/cron/rolecall").read_text():
            raise HostFault(f"something of blog is left: {left or 'its release or its cron jobs'}")
        self.confirm("nothing of blog is left in the generation, in cron or among the releases")
        self.expect(site.VIDEO, "release 7")

    def blame(self) -> None:
        """Where the time went."""
        self.chapter("Where did the time go?")
        self.rolecall("blame")

    def put_back(self) -> None:
        """Both sites, for whoever goes on from here."""
        self.chapter("To play with: blog is put back")
        unchanged = {key: self.document[key] for key in ("serial", "databases")}  # no node goes back to an older epoch
        self.document = {**site.document(self.node), **unchanged}
        site.publish(self.node, self.document)
        self.rolecall("refresh", show=False)
        self.expect(site.BLOG, "release 1, writes go to db2")

    def chapter(self, title: str) -> None:
        """Begin the next chapter."""
        self.chapters[title] = []
        self.out.print(f"\n{len(self.chapters)}. {title}", style="bold")

    def confirm(self, fact: str) -> None:
        """Something of this chapter that was seen to be true."""
        self.chapters[list(self.chapters)[-1]].append(fact)
        self.out.print(f"   ✓ {fact}", style="green")

    def rolecall(self, *words: str, code: int = 0, show: bool = True) -> None:
        """Run the agent as its users do; anything but the expected exit code ends the story."""
        argv = (*PROGRAM, *words, "--config", str(self.node.config))
        if show:
            self.out.print(f"   $ rolecall {' '.join(words)}", style="cyan")
        with self.out.status(f"rolecall {' '.join(words)}"):
            result = programs.run(argv, 120, self.node.environment())
        if show:
            for line in result.output.splitlines():
                self.out.print(f"   {line}")
        if result.status != code:
            ending = f"ended with {result.status} instead of {code}:\n{result.tail}"
            raise HostFault(f"rolecall {' '.join(words)} {ending}")
        if code and show:
            self.out.print(f"   exit code {code}", style="yellow")

    def expect(self, host: str, words: str) -> None:
        """A site's page has these words."""
        status, text = get(self.node, host)
        if status != 200 or words not in text:
            raise HostFault(f"http://{host}/ answered {status} {text!r} instead of {words!r}")
        self.confirm(f"http://{host}:{self.node.port}/ → {text.strip()}")
