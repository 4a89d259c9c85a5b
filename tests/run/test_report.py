"""A run's notebook: each step with its time and its end, all of it as data."""

import json
import threading
from dataclasses import replace

import pytest

from rolecall.errors import ConfigFault, HostFault
from rolecall.fleet.check import CheckResult
from rolecall.report import Report, Step


def test_a_step_has_its_time_and_how_it_ended() -> None:
    report = Report("boot")
    with report.step("fetch") as step:
        step.note = "from the store"
        assert report.data()["steps"] == [
            {"name": "fetch", "seconds": 0, "outcome": "running", "note": "from the store"}
        ]
    [step] = report.data()["steps"]
    assert (step["outcome"], step["note"]) == ("done", "from the store")
    assert 0 <= step["seconds"] < 300


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (ConfigFault("two lines\n  in one", "hint"), "two lines"),
        (HostFault(""), ""),
        (KeyError("x"), "KeyError('x')"),
        (KeyboardInterrupt(), "KeyboardInterrupt()"),
    ],
)
def test_a_step_that_fails_says_so_and_lets_the_error_pass(error: BaseException, note: str) -> None:
    report = Report("boot")
    with pytest.raises(type(error)), report.step("stage"):
        raise error
    assert (report.steps[0].outcome, report.steps[0].note) == ("failed", note)


def test_steps_inside_steps_are_kept_in_the_order_in_which_they_began() -> None:
    report = Report("boot")
    with report.step("outer"), report.step("inner"):
        pass
    assert [(step.name, step.outcome) for step in report.steps] == [("outer", "done"), ("inner", "done")]


class Terminal:
    """Somebody who watches, and who cannot be copied: it holds a lock."""

    def __init__(self) -> None:
        self.lock, self.seen = threading.Lock(), list[tuple[str, str]]()

    def watch(self, step: Step) -> None:
        self.seen.append((step.name, step.outcome))


def test_whoever_watches_is_told_when_a_step_begins_and_ends_and_is_no_part_of_the_data() -> None:
    terminal = Terminal()
    report = Report("boot").watched_by(terminal.watch)
    with report.step("plan"):
        pass
    assert terminal.seen == [("plan", "running"), ("plan", "done")]
    assert not any(key.startswith("_") for key in report.data())


def test_a_warning_is_told_once() -> None:
    report = Report("boot")
    for _ in range(3):
        report.warn("unsigned")
    assert report.warnings == ["unsigned"]


def test_a_failure_is_its_message_its_remedy_and_its_exit_code() -> None:
    report = Report("refresh")
    report.failed(ConfigFault("wrong", "right it"), "refused")
    data = report.data()
    assert (data["outcome"], data["exit_code"], data["error"], data["hint"]) == ("refused", 78, "wrong", "right it")


def test_the_last_round_of_checks_counts() -> None:
    report = Report("boot")
    report.tested([CheckResult("a", ok=False, required=True, seconds=0.1, reason="down")], {})
    report.tested([CheckResult("a", ok=True, required=True, seconds=0.1)], {})
    assert [(check["name"], check["ok"], check["reason"]) for check in report.data()["checks"]] == [("a", True, "")]


def result(product: str, *, ok: bool, required: bool = True) -> CheckResult:
    return CheckResult(f"{product}: a check", ok=ok, required=required, seconds=0.1, product=product)


@pytest.mark.parametrize(
    ("results", "releases", "serving", "products"),
    [
        ([], {}, True, {}),
        ([result("", ok=True)], {}, True, {}),
        ([result("", ok=False)], {}, False, {}),
        ([result("", ok=False, required=False)], {}, True, {}),
        ([replace(result("", ok=False, required=False), serving=True)], {}, False, {}),
        ([result("blog", ok=True), result("shop", ok=True)], {"blog": "1", "shop": "7"}, True, {"blog": 1, "shop": 1}),
        (
            [result("blog", ok=True), result("shop", ok=False)],
            {"blog": "1", "shop": "7"},
            False,
            {"blog": 1, "shop": 0},
        ),
        ([result("blog", ok=False, required=False)], {"blog": "1"}, True, {"blog": 1}),
        ([result("", ok=False), result("blog", ok=True)], {"blog": "1"}, True, {"blog": 1}),
    ],
)
def test_a_node_serves_if_each_of_its_products_answers_and_without_any_if_all_its_own_tests_passed(
    results: list[CheckResult], releases: dict[str, str], serving: int, products: dict[str, int]
) -> None:
    report = Report("boot")
    report.tested(results, releases)
    assert report.serving == serving
    assert {name: product.serving for name, product in report.products.items()} == products
    assert {name: product.version for name, product in report.products.items()} == releases


def test_a_snapshot_does_not_change_when_the_report_does() -> None:
    report = Report("boot").watched_by(Terminal().watch)
    before = report.snapshot()
    report.warn("later")
    with report.step("plan"):
        pass
    assert (before.warnings, before.steps) == ([], [])


def test_the_data_are_json_and_say_their_format() -> None:
    report = Report("boot", server="web1")
    data = json.loads(json.dumps(report.data()))
    assert (data["format"], data["command"], data["server"], data["outcome"]) == (1, "boot", "web1", "running")
    assert data["seconds"] >= 0
