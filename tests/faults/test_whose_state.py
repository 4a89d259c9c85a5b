"""What is set aside and taken back is never in between for long, never twice, and never lost: killed at any rename."""

import json
import os
import shutil
from collections.abc import Callable

import pytest

from faults.operations import broken_off, die, in_a_child, listed
from faults.tiny import Nodes, Tiny
from rolecall.report import Report

DATA = ("shared/blog/uploads/photo", "private/blog/sess_1")


def reboot(tiny: Tiny, instance: str) -> Report:
    """A run at boot as this instance."""
    shutil.rmtree(tiny.run, ignore_errors=True)
    (tiny.root / "etc/identity.json").write_text(json.dumps({"server": "web1", "instance": instance}))
    return tiny.converge("boot")


def write(tiny: Tiny, text: str) -> None:
    """What a product has written."""
    for name in DATA:
        (tiny.state / name).parent.mkdir(parents=True, exist_ok=True)
        (tiny.state / name).write_text(text)


def owners(tiny: Tiny) -> dict[str, list[str]]:
    """Whose data lies where: in the state folder (''), and aside."""
    places = {"": tiny.state, **{path.name: path for path in (tiny.state / "aside").glob("*")}}
    data = {name: [(place / file).read_text() for file in DATA if (place / file).exists()]
            for name, place in places.items()}  # fmt: skip
    return {name: texts for name, texts in data.items() if texts}


@pytest.fixture
def tiny(nodes: Nodes) -> Tiny:
    """A machine that was i-a, then i-b; both have written something."""
    tiny = nodes()
    tiny.publish("a", "blog")
    assert reboot(tiny, "i-a").outcome == "ready"
    write(tiny, "i-a")
    assert reboot(tiny, "i-b").outcome == "ready"
    write(tiny, "i-b")
    assert owners(tiny) == {"": ["i-b"] * 2, "from-i-a": ["i-a"] * 2}
    return tiny


def points(tiny: Tiny, act: Callable[[], object]) -> list[int]:
    """The operations of a run that move something, each by its number; the node is as it was before."""
    tiny.keep("before")
    operations = listed(act)
    come_back(tiny)
    return [
        at
        for at, operation in enumerate(operations)
        if operation.name in ("rename", "mkdir", "rmdir") and "aside" in f"{operation.args}"
    ]


def come_back(tiny: Tiny) -> None:
    """The node as it was kept, its daemons left as they are."""
    shutil.rmtree(tiny.state)
    shutil.copytree(tiny.root / "before/state", tiny.state, symlinks=True)


def test_a_run_that_is_killed_at_any_rename_is_completed_as_either_instance(tiny: Tiny) -> None:
    moves = points(tiny, lambda: reboot(tiny, "i-a"))
    assert len(moves) >= 12

    def doomed() -> int:
        with broken_off(at, when, die):
            reboot(tiny, "i-a")
        return 0

    for at in moves:
        for when, instance, other in (("before", "i-a", "i-b"), ("after", "i-b", "i-a")):
            come_back(tiny)
            assert in_a_child(doomed) == -9
            report = reboot(tiny, instance)
            assert report.exit_code == 0, report.error
            assert owners(tiny) == {"": [instance] * 2, f"from-{other}": [other] * 2}, (at, when)
            assert reboot(tiny, other).exit_code == 0
            assert owners(tiny) == {"": [other] * 2, f"from-{instance}": [instance] * 2}, (at, when)
    print(f"{len(moves)} points")


def test_a_state_that_was_named_too_early_would_be_found_out(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rolecall.node.aside._NAMING", "shared")
    with pytest.raises(AssertionError):
        test_a_run_that_is_killed_at_any_rename_is_completed_as_either_instance(tiny)


def test_what_an_earlier_version_has_set_aside_is_taken_back_as_a_whole(tiny: Tiny) -> None:
    aside = tiny.state / "aside"
    shutil.rmtree(aside)
    reboot(tiny, "i-a")
    write(tiny, "i-a")
    shutil.rmtree(aside)
    (aside / "from-i-a").mkdir(parents=True)
    for name in [name for name in os.listdir(tiny.state) if name != "aside"]:  # as it was done then
        (tiny.state / name).rename(aside / "from-i-a" / name)
    reboot(tiny, "i-b")
    write(tiny, "i-b")
    report = reboot(tiny, "i-a")
    assert (report.exit_code, owners(tiny)) == (0, {"": ["i-a"] * 2, "from-i-b": ["i-b"] * 2})
    assert any("this machine's own state" in warning for warning in report.warnings)


def test_with_every_store_out_an_instance_finds_its_own_document_where_it_lies_aside(tiny: Tiny) -> None:
    (tiny.store / "fleet.json").unlink()
    report = reboot(tiny, "i-a")
    assert (report.exit_code, "going on with serial" in report.degraded) == (0, True), report.error
    assert owners(tiny)[""] == ["i-a"] * 2
    report = reboot(tiny, "i-c")
    assert (report.exit_code, owners(tiny)[""]) == (75, ["i-a"] * 2)


def test_daemons_that_another_instance_had_several_of_stop_when_this_one_does_not_want_them(tiny: Tiny) -> None:
    from rolecall.node.notes import Instances
    from rolecall.render.contents import DirectCommands, Unit

    pidfile = tiny.root / "run/tiny/cache.pid"
    pidfile.write_text(str(os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")))
    commands = DirectCommands(str(pidfile), ("true",), "", "TERM")
    unit = Unit("memcached@old", "memcached@old.service", "restart", commands, "0" * 64, instance=True)
    tiny.node().notes.write(Instances((unit,)))
    report = reboot(tiny, "i-c")
    assert report.exit_code == 0, report.error
    assert any("stop memcached@old" in step.note for step in report.steps)


def test_a_plan_and_a_run_that_are_refused_leave_another_instances_state_where_it_is(tiny: Tiny) -> None:
    before = {path: path.lstat().st_ino for path in tiny.state.rglob("*")}
    told = (tiny.store / "reports/web1.json").read_bytes()
    shutil.rmtree(tiny.run)
    (tiny.root / "etc/identity.json").write_text('{"server": "web1", "instance": "i-c"}')
    plan = json.loads(tiny.rolecall("plan", "--json").stdout)
    assert plan["current"] == ""
    assert {path: path.lstat().st_ino for path in tiny.state.rglob("*")} == before
    (tiny.root / "etc/identity.json").write_text('{"server": "nobody", "instance": "i-c"}')
    assert tiny.converge("boot").outcome == "refused"
    number = tiny.state / "runs.json"  # of the report that tells of it
    after = {path: path.lstat().st_ino for path in before if path.exists()}
    assert {**after, number: 0} == {**before, number: 0}
    assert tiny.rolecall("rollback").returncode == 1
    assert tiny.rolecall("drain").returncode == 0
    assert (tiny.store / "reports/web1.json").read_bytes() == told, "no report goes out in the other's name"


def test_two_answers_that_contradict_each_other_and_the_disk_are_believed_neither(tiny: Tiny) -> None:
    identity, second = tiny.root / "etc/identity.json", tiny.root / "etc/second.json"
    second.write_text('{"server": "web1", "instance": "i-b"}')
    shutil.rmtree(tiny.run)
    identity.unlink()
    os.mkfifo(identity)

    def answer() -> int:
        with identity.open("w") as pipe:  # which the run has opened by now: what it asks next is the file
            second.replace(identity)
            pipe.write('{"server": "web1", "instance": "i-x"}')
        return 0

    if (pid := os.fork()) == 0:
        os._exit(answer())
    report = tiny.converge()
    os.waitpid(pid, 0)
    assert (report.exit_code, report.cause) == (75, "imds-error"), report.error
    assert owners(tiny) == {"": ["i-b"] * 2, "from-i-a": ["i-a"] * 2}
    assert tiny.converge().exit_code == 0


@pytest.mark.parametrize(
    ("note", "is_of_this_boot"),
    [
        ({"format": 1, "identity": {"server": "web1", "instance": "i-b"}}, True),  # of the version before
        ({"server": "web1", "instance": "i-b"}, True),  # of 0.1.0
        ({"format": 2, "identity": {"server": "web1", "instance": "i-b"}, "boot": "an earlier one"}, False),
    ],
)
def test_who_the_machine_was_counts_for_the_boot_in_which_it_was_learnt(
    note: dict[str, object], is_of_this_boot: bool, tiny: Tiny
) -> None:
    (tiny.run / "identity.json").write_text(json.dumps(note))
    (tiny.root / "etc/identity.json").write_text('{"server": "web1", "instance": "i-a"}')
    report = tiny.converge()
    assert report.exit_code == 0, report.error
    assert owners(tiny)[""] == ["i-b" if is_of_this_boot else "i-a"] * 2
    assert not (tiny.run / "unreadable").exists()
