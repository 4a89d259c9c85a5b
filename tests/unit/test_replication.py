"""What a database server decides to do: whatever it finds, it never opens a second master nor overwrites data."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.errors import ConfigFault, HostFault
from rolecall.replication import BROKEN, DIVERGED, Standing, Step, decide
from rolecall.topology import Endpoint, NodeDatabase

MASTER, CANDIDATE = Endpoint("db1", "10.0.0.21", 3306), Endpoint("db2", "10.0.0.22", 3306)
SETTLED = Standing(
    read_only=True, fresh=False, known=True, upstream=("10.0.0.21", 3306), receiving=True, applying=True, acks=True
)


def wanted(duty: str, epoch: int = 1) -> NodeDatabase:
    upstream = {"master": None, "replica": CANDIDATE}.get(duty, MASTER)
    return NodeDatabase("blog", 3306, epoch, duty, MASTER, upstream, (MASTER, CANDIDATE), (), None, 1)


standings = st.builds(
    Standing,
    read_only=st.booleans(), fresh=st.booleans(), known=st.booleans(),
    upstream=st.sampled_from([None, ("10.0.0.21", 3306), ("10.0.0.22", 3306), ("10.0.0.99", 3307)]),
    receiving=st.booleans(), applying=st.booleans(), error=st.sampled_from([0, 2003, *DIVERGED, *BROKEN]),
    words=st.just("…"), acked=st.booleans(), acks=st.booleans(), ackers=st.integers(0, 2),
)  # fmt: skip
duties = st.sampled_from(["master", "candidate", "replica", "snapshot"])


@given(standings, duties, st.integers(1, 5), st.integers(0, 5))
def test_whatever_a_server_is_it_opens_only_as_the_master_of_the_newest_epoch(
    now: Standing, duty: str, epoch: int, seen: int
) -> None:
    try:
        steps = decide(now, wanted(duty, epoch), seen)
    except ConfigFault:
        assert epoch < seen
        return
    except HostFault:
        assert duty != "master"
        return
    assert epoch >= seen
    if Step.OPEN in steps:
        assert duty == "master"
        assert Step.TAKE_OVER not in steps or steps.index(Step.TAKE_OVER) < steps.index(Step.OPEN)
    if duty == "master":
        assert (Step.TAKE_OVER in steps) == (now.upstream is not None)
        assert not {Step.JOIN, Step.FOLLOW, Step.CLOSE} & set(steps)
    else:
        assert (Step.CLOSE in steps) == (not now.read_only)
        assert steps[0] is Step.CLOSE or now.read_only, "first of all it stops taking writes"
        assert Step.JOIN not in steps or now.fresh, "only where there is nothing to lose"
        assert len({Step.FOLLOW, Step.START} & set(steps)) <= 1


@given(standings, duties)
def test_data_of_unknown_origin_is_never_touched(now: Standing, duty: str) -> None:
    unknown = replace(now, fresh=False, known=False)
    if duty == "master":
        assert Step.JOIN not in decide(unknown, wanted(duty), 0)
    else:
        with pytest.raises(HostFault, match="data of its own"):
            decide(unknown, wanted(duty), 0)


@pytest.mark.parametrize("error", [*DIVERGED, *BROKEN])
def test_a_server_that_has_diverged_stops_and_says_so(error: int) -> None:
    with pytest.raises(HostFault, match=rf"diverged: row 7 is not there \(error {error}\)"):
        decide(replace(SETTLED, error=error, words="row 7 is not there"), wanted("candidate"), 0)
    moved = replace(SETTLED, error=error, upstream=("10.0.0.99", 3306))
    assert Step.FOLLOW in decide(moved, wanted("candidate"), 0), "of another upstream it says nothing"


def test_who_is_what_it_should_be_has_nothing_to_do() -> None:
    assert decide(SETTLED, wanted("candidate"), 1) == ()
    assert decide(replace(SETTLED, acks=False), wanted("snapshot"), 1) == ()
    follower = replace(SETTLED, acks=False, upstream=("10.0.0.22", 3306))
    assert decide(follower, wanted("replica"), 1) == ()
    master = Standing(read_only=False, fresh=False, known=True, acked=True, ackers=1)
    assert decide(master, wanted("master"), 1) == (Step.ACCOUNTS,)


def test_a_master_waits_for_acknowledgements_only_once_somebody_gives_them() -> None:
    alone = Standing(read_only=False, fresh=False, known=True)
    assert Step.ACKED not in decide(alone, wanted("master"), 1), "it would take no write until the candidate is there"
    assert Step.ACKED in decide(replace(alone, ackers=1), wanted("master"), 1)
