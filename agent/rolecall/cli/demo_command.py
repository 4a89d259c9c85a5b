"""`demo`: the whole story on this machine."""

import argparse

from rolecall.cli.command import Command
from rolecall.cli.terminal import console
from rolecall.demo.story import Demonstration, run_story
from rolecall.forms.quantities import duration


def demo(arguments: argparse.Namespace) -> Demonstration:
    """Run the story. It is printed as it happens; where JSON is asked for, that alone is on standard output."""
    return run_story(arguments.folder, keep=arguments.keep, out=console(errors=arguments.json))


def show_demonstration(answer: Demonstration) -> None:
    """The last lines of the story."""
    out = console()
    out.print(f"\nThe whole story took {duration(answer.seconds)}.", style="bold")
    if answer.running:
        out.print(f"""The node goes on serving. In another shell:
  . {answer.folder}/env.sh            # rolecall, as this node sees it
  curl {answer.url}
  rolecall status
  $EDITOR {answer.store}/fleet.json   # raise the serial, then: rolecall refresh
  sh {answer.folder}/stop.sh            # stops the daemons; then remove the folder""")
        return
    out.print("Every process is stopped. Next: `rolecall demo --keep` leaves the node running to play with;")
    out.print(
        "docs/tutorial.md goes on from there, templates/web/role.toml is the role, agent/rolecall/run.py the run."
    )


DEMO = Command(demo, show_demonstration)
