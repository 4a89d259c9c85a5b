"""`plan`: of this node, or of any server of a document, on any machine."""

import argparse

from rolecall.cli.answers import PlanAnswer, plan_answer
from rolecall.cli.command import Command
from rolecall.cli.parser import parser
from rolecall.cli.plan_view import show_plan
from rolecall.operator import offline
from rolecall.render.generation import Generation
from rolecall.render.plan import make_plan


def plan_of_this_node(arguments: argparse.Namespace) -> PlanAnswer:
    """What the next run would change here."""
    from rolecall.node.node import open_ready_node
    from rolecall.report import Report
    from rolecall.run import decide
    from rolecall.settings import load_settings

    report = Report("plan")
    plan = decide(open_ready_node(load_settings(arguments.config)), report, dry=True).prospect.plan
    notes = [*report.warnings, *(f"{name} is not as the document says: {why}" for name, why in report.left_out.items())]
    return plan_answer(plan, notes, summary=arguments.summary)


def plan_of_any_server(arguments: argparse.Namespace) -> PlanAnswer:
    """What a server of a document would become, or what a document would change on a server of the store's."""
    if not (arguments.server and (arguments.fleet or arguments.store)):
        parser().error("--as and a document go together: rolecall plan --fleet fleet.json --as web1")
    settings = arguments.config if arguments.config.exists() else None
    live = offline.live_fleet(offline.store_at(arguments.store, settings)) if arguments.store else None
    target = offline.read_fleet(arguments.fleet) if arguments.fleet else live
    assert target
    platform = arguments.platform or offline.platform_of(arguments.config)
    old = Generation("", "", "")
    if live and arguments.fleet and arguments.server in live.servers:
        old = offline.generation(live, arguments.server, platform, arguments.templates)
    new = offline.generation(target, arguments.server, platform, arguments.templates)
    notes = offline.ignored_parameters(target, arguments.server, arguments.templates)
    return plan_answer(make_plan(old, new), notes, summary=arguments.summary)


PLAN_OF_THIS_NODE = Command(plan_of_this_node, show_plan)
PLAN_OF_ANY_SERVER = Command(plan_of_any_server, show_plan)
