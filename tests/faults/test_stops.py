"""A run may be told to stop at any moment, and only one runs at a time."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.operations import broken_off, in_a_child
from faults.test_kills import Point, Story, change, failure
from faults.tiny import UNITS, Nodes, Tiny, end, picture, text_of, wait
from patience import on_this_machine
from rolecall import __main__
from rolecall.checks import probes
from rolecall.cli import dispatch
from rolecall.errors import BusyFault, Stopped
from rolecall.fleet.check import Check
from rolecall.host import direct_units
from rolecall.render.generation import Generation
from sampling import LONG, some_of

STARTING, MOMENTS = 1, 13 if LONG else 4  # at which the program is stopped: while it starts, and while it works


def stopped(story: Story, point: Point) -> tuple[int, str]:
    """The program in a child, told to stop right after one of its operations: its exit code, and what it said."""
    story.begin()
    said = story.tiny.root / "said"

    def program() -> int:
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = ["rolecall", "refresh", "--config", str(story.tiny.config)]
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        stop = os.kill
        with story.tiny.patient(), broken_off(*point, lambda: stop(os.getpid(), signal.SIGTERM)):
            code = __main__.main()
        sys.stdout.flush()
        sys.stderr.flush()
        return code

    return in_a_child(program), said.read_text()


@pytest.mark.parametrize(("make", "first", "usual"), [(change, "/generation.json", 0), (failure, "/current", 1)])
def test_a_run_that_is_told_to_stop_ends_with_exit_code_75_and_the_next_one_completes_it(
    make: Callable[[Nodes], Story], first: str, usual: int, nodes: Nodes
) -> None:
    story = make(nodes)
    points = some_of([point for point in story.points(first) if point[1] == "after"], 16)
    proven = max(at for at, one in enumerate(story.operations) if "/loaded/" in str(one))
    for point in points:
        code, said = stopped(story, point)
        where = f"{story.name(point)}: {said}"
        assert code == 75 or (point[0] > proven and code == usual), where
        assert "Traceback" not in said, where
        assert "told to stop by SIGTERM" in said or code != 75, where
        assert story.known.faults(picture(story.tiny.state)) == [], where
        assert story.known.mixed(story.tiny) == [], where
        assert after(story) == [], where
    print(f"{len(points)} points")


def after(story: Story) -> list[str]:
    """What is wrong once the next run has gone undisturbed."""
    left = story.tiny.fingerprint()
    if left in story.completed:
        return []
    story.completed.add(left)
    story.act()
    now = story.tiny.look()
    return story.known.mixed(story.tiny) + min((end.differences(now) for end in story.ends), key=len)


def started(tiny: Tiny, *words: str) -> "subprocess.Popen[str]":
    """The program, running."""
    return subprocess.Popen(
        tiny.argv(*words), env=tiny.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_program_may_be_stopped_at_any_time(number: signal.Signals, nodes: Nodes) -> None:
    story = change(nodes)
    lock = story.tiny.run / "lock"
    codes, work, starting = [], 0.0, 0.0
    for moment in range(-STARTING - 1, MOMENTS):  # the first one is not stopped, and tells how long a run takes
        story.begin()
        began = time.monotonic()
        run = started(story.tiny, "refresh")
        if moment >= 0 or not work:
            wait(lambda pid=run.pid: f"process {pid}," in lock.read_text(), "it holds the lock")  # type: ignore[misc]
        if work:
            time.sleep(work * moment / (MOMENTS - 2) if moment >= 0 else starting * -moment / (STARTING + 1))
            run.send_signal(number)
        else:
            starting = time.monotonic() - began
        said, _ = run.communicate(timeout=30)
        work = work or time.monotonic() - began - starting
        codes.append(run.returncode)
        # Before the program has begun and after its last word, a signal ends it as it ends any program.
        at_work = number == signal.SIGTERM and moment >= 0 and "ready: generation" not in said
        assert run.returncode in ((75,) if at_work else (75, 0, -number)), f"moment {moment}: {run.returncode} {said}"
        assert "Traceback" not in said
        assert story.known.faults(picture(story.tiny.state)) == []
        settle(story.tiny)
        assert story.known.mixed(story.tiny) == []
        assert after(story) == [], f"moment {moment}: {said}"
    print(codes)


def settle(tiny: Tiny) -> None:
    """Let daemons do what they were told last: signals to them are not waited for, as they are elsewhere."""
    for unit in UNITS:
        if pid := tiny.pid(unit):
            tiny.reload(unit, pid)
    time.sleep(0.03)


def test_the_program_stops_while_a_self_test_waits_for_an_answer(nodes: Nodes) -> None:
    tiny = nodes()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        expect = {"host": "x", "port": f"127.0.0.1:{silent.getsockname()[1]}", "status": 200, "contains": None}
        check = Check("never", "http", "/", {**expect, "headers": {}}, timeout=10)
        subject = probes.Subject(
            Generation("", "", "", checks=(check,)), tiny.state, "", direct_units.DirectManager(tiny.run)
        )
        usual = signal.signal(signal.SIGALRM, dispatch._stop)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            with pytest.raises(Stopped):
                probes.run_checks(subject, 10)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, usual)


@pytest.fixture
def slow(nodes: Nodes) -> Story:
    """A change whose validator takes its time."""
    story = change(nodes)
    story.begin()
    (story.tiny.root / "srv/slow").write_text("50\n")
    return story


def below(pid: int) -> dict[int, str]:
    """A process, its children, and theirs, with their command lines."""
    found, pending = {}, [pid]
    for one in pending:  # grows as it goes
        pending += map(int, text_of(Path(f"/proc/{one}/task/{one}/children")).split())
        found[one] = text_of(Path(f"/proc/{one}/cmdline"))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_second_run_says_who_holds_the_lock_and_nobody_holds_it_for_a_run_that_is_gone(
    number: signal.Signals, slow: Story
) -> None:
    tiny = slow.tiny
    first = started(tiny, "refresh")
    try:
        wait(lambda: any(line.startswith("sleep\0") for line in below(first.pid).values()), "the validator runs")
        validator = [pid for pid in below(first.pid) if pid != first.pid]
        for words in (("refresh",), ("boot",), ("rollback",)):
            second = tiny.rolecall(*words)
            assert second.returncode == 75, second.stderr
            assert f"{tiny.run}/lock is held by rolecall refresh, process {first.pid}, since " in second.stderr
    finally:
        first.send_signal(number)
        said, _ = first.communicate(timeout=on_this_machine(10))
    assert first.returncode == (75 if number == signal.SIGTERM else -number), said
    (tiny.root / "srv/slow").unlink()
    assert after(slow) == [], "the next run does not wait for the validator that was left behind"
    for pid in validator:
        end(pid, signal.SIGKILL)


def test_of_two_runs_at_a_time_one_does_the_work(nodes: Nodes) -> None:
    story = change(nodes)
    both = []
    for _ in range(20 if LONG else 8):
        story.begin()
        codes = race(story, 2)
        both.append(codes)
        assert set(codes) <= {0, 75}, codes
        assert 0 in codes, codes
        assert story.known.mixed(story.tiny) == []
        assert min((end.differences(story.tiny.look()) for end in story.ends), key=len) == []
    print(both)
    assert any(75 in codes for codes in both), "they have met"


def race(story: Story, count: int) -> list[int]:
    """Runs in as many children at a time: their exit codes."""
    gate, opened = os.pipe()
    children = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(opened)
            os.read(gate, 1)
            try:
                code = story.tiny.converge().exit_code
            except BusyFault as fault:
                code = fault.exit_code
            except BaseException:  # noqa: BLE001 - told by the exit code
                code = 99
            os._exit(code)
        children.append(pid)
    os.close(gate)
    os.close(opened)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def test_no_daemon_holds_the_lock_of_the_run_that_started_it(nodes: Nodes) -> None:
    tiny = nodes()
    tiny.publish("a", "blog")
    assert tiny.rolecall("boot").returncode == 0
    for unit in UNITS:
        held = [os.readlink(one) for one in Path(f"/proc/{tiny.pid(unit)}/fd").iterdir()]
        assert sorted(set(held)) == [os.devnull, f"{tiny.root}/run/tiny/{unit}.lock"]
    assert tiny.rolecall("refresh").returncode == 0
