"""Ready is one thing, serving another: what is current answers, be it the last generation after a roll-back."""

import json
import socket
from typing import Any

import pytest

from box import Box


def reported(box: Box) -> dict[str, Any]:
    """What the fleet sees of the last run."""
    report: dict[str, Any] = json.loads((box.machine.store / "reports/web1.json").read_text())
    return report


def serving(box: Box) -> dict[str, bool]:
    """What the report, the figures and `status` say, which must agree; the node itself is ''."""
    report = reported(box)
    parts = {"": report["serving"], **{name: product["serving"] for name, product in report["products"].items()}}
    figures = (box.state / "metrics/rolecall.prom").read_text().splitlines()
    names = {f'rolecall_product_serving{{product="{name}"}}' if name else "rolecall_serving": name for name in parts}
    values = {
        names[name]: value == "1" for name, _, value in (line.rpartition(" ") for line in figures) if name in names
    }
    assert values == parts
    status = box.json("status")
    assert {
        "": status["serving"],
        **{name: product["serving"] for name, product in status["products"].items()},
    } == parts
    return parts


@pytest.fixture
def node(box: Box) -> Box:
    """A node that serves two products."""
    config = box.machine.config
    config.write_text(config.read_text().replace('selftest_deadline = "5s"', 'selftest_deadline = "4s"'))
    box.product("blog", runtime="static")
    box.product("shop", runtime="static")
    box.publish()
    box.boot()
    assert serving(box) == {"": True, "blog": True, "shop": True}
    return box


def test_a_node_that_rolled_itself_back_serves_and_everybody_is_told(node: Box) -> None:
    node.product("blog", "2", runtime="static", health="down")
    node.publish()
    node.rolecall("refresh", ok=1)
    assert serving(node) == {"": True, "blog": True, "shop": True}
    report = reported(node)
    assert (report["outcome"], report["exit_code"]) == ("rolled back", 1)
    assert report["products"]["blog"]["version"] == "1", "of what is current, not of what was tried"
    assert [check["name"] for check in report["checks"] if not check["ok"]] == ["blog: GET /health"]
    assert "web1: ready, but the last run did not end well (rolled back)" in node.rolecall("status", ok=1).stdout
    node.rolecall("refresh", ok=1)
    assert (reported(node)["outcome"], reported(node)["serving"]) == ("waiting", True)
    *_, why, remedy = node.rolecall("status", ok=1).stdout.splitlines()
    assert why.startswith("why:  refresh, run 2, ended 'rolled back': 1 of"), "the first error, not that it waits"
    assert "self-tests failed: blog: GET /health: the answer does not contain 'ok'" in why
    assert remedy.startswith("next: ")


def test_a_run_that_tests_nothing_says_what_the_last_one_found(node: Box) -> None:
    node.publish({**node.document, "serial": 99, "databses": {}})
    node.rolecall("refresh", ok=78)
    assert (reported(node)["outcome"], serving(node)) == ("refused", {"": True, "blog": True, "shop": True})
    assert reported(node)["address"] == "10.0.0.11"
    node.rolecall("drain")
    assert (reported(node)["outcome"], serving(node)) == ("drained", {"": True, "blog": True, "shop": True})


def test_a_product_that_does_not_answer_does_not_speak_for_the_others(node: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as backend:
        port = backend.getsockname()[1]
        node.document["products"]["blog"]["checks"].append({"tcp": f"127.0.0.1:{port}"})
        node.publish()
        node.rolecall("refresh")
    node.rolecall("boot", ok=1)
    assert (reported(node)["outcome"], serving(node)) == ("not ready", {"": False, "blog": False, "shop": True})
    assert "web1: NOT READY, not serving: blog" in node.rolecall("status", ok=1).stdout
    with socket.create_server(("127.0.0.1", port)):
        node.rolecall("boot")
        assert serving(node) == {"": True, "blog": True, "shop": True}


def test_what_is_wrong_with_the_machine_alone_sends_no_visitor_away(node: Box) -> None:
    jobs = node.state / "current/cron/rolecall"
    jobs.chmod(0o666)
    text = node.rolecall("status", ok=1).stdout
    assert "web1: NOT READY, but serving" in text


def test_a_daemon_that_does_not_start_is_seen_although_no_self_test_was_reached(node: Box) -> None:
    node.stop()
    control = node.machine.root / "usr/sbin/apache2ctl"
    usual = control.read_text()
    control.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    try:
        node.rolecall("boot", ok=1)
    finally:
        control.write_text(usual)
    assert serving(node) == {"": False, "blog": False, "shop": False}


def test_a_web_server_without_a_product_is_ready_and_serves_only_if_the_document_says_so(box: Box) -> None:
    box.publish()
    box.boot()
    assert (reported(box)["outcome"], reported(box)["exit_code"], serving(box)) == ("ready", 0, {"": False})
    assert "a product to serve: no product is assigned to this server" in reported(box)["warnings"][-1]
    box.document["servers"]["web1"]["spare"] = True
    box.publish()
    box.rolecall("refresh")
    assert (reported(box)["outcome"], serving(box)) == ("ready", {"": True})


def test_a_mistake_in_the_tags_of_a_server_that_the_document_names_is_a_note(box: Box) -> None:
    identity = box.machine.config.with_name("identity.json")
    identity.write_text('{"server": "web1", "tags": {"rolecall:role": "web", "rolecall:product": "blog"}}')
    box.publish()
    box.boot()
    assert any("did you mean 'rolecall:products'? (it changes nothing" in note for note in reported(box)["warnings"])


def test_a_node_without_any_generation_does_not_serve(box: Box) -> None:
    box.rolecall("boot", ok=75)
    [report] = box.json("history")
    assert (report["serving"], report["products"]) == (False, {})
    assert "this machine: NOT READY, not serving" in box.rolecall("status", ok=1).stdout


def test_an_ill_product_keeps_no_neighbour_from_changing_and_each_has_its_own_verdict(node: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as backend:
        endpoint = f"127.0.0.1:{backend.getsockname()[1]}"
        node.product("blog", runtime="static", checks=[{"tcp": endpoint}])
        node.publish()
        node.rolecall("refresh")
    node.product("shop", "2", runtime="static")
    node.publish()
    assert "as they did before the switch" in node.rolecall("refresh", ok=1).stderr
    assert node.get("shop.example.com")[2] == "release=2\n"
    report = reported(node)
    assert (report["outcome"], report["fault"]) == ("ailing", "")
    assert report["products"]["shop"] == {"version": "2", "serving": True, "ailment": ""}
    assert report["products"]["blog"]["ailment"].startswith(f"blog: connect to {endpoint}: ")
    assert serving(node) == {"": False, "blog": False, "shop": True}
    assert f"blog: connect to {endpoint}: " in node.rolecall("status", ok=1).stdout
    # What gets worse rolls back all the same, and what was ill before is no part of that verdict.
    node.product("shop", "3", runtime="static", health="down")
    node.publish()
    node.rolecall("refresh", ok=1)
    assert reported(node)["outcome"] == "rolled back"
    assert node.get("shop.example.com")[2] == "release=2\n"
    # Well again, it waits for nobody.
    with socket.create_server(("127.0.0.1", int(endpoint.partition(":")[2]))):
        node.product("shop", "4", runtime="static")
        node.publish()
        assert node.rolecall("refresh").stdout.startswith("ready: generation ")
        assert serving(node) == {"": True, "blog": True, "shop": True}
