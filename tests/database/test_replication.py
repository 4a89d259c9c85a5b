"""What a database server decides to do: whatever it finds, it never opens a second master nor overwrites data."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.database.client import Client
from rolecall.database.replication import Action, Neighbour, Standing, actions_for, held_up, older, stuck
from rolecall.fleet.topology import Endpoint, NodeDatabase
from rolecall.render.contents import Replication

MASTER, CANDIDATE = Endpoint("db1", "10.0.0.21", 3306), Endpoint("db2", "10.0.0.22", 3306)
ME, OTHER, THIRD = ("10.0.0.22", 3306), ("10.0.0.21", 3306), ("10.0.0.23", 3306)
SETTLED = Standing(
    read_only=True, fresh=False, known=True, upstream=OTHER, receiving=True, applying=True, acks=True
)  # fmt: skip
OPEN = Standing(read_only=False, fresh=False, known=True, acked=True, ackers=1, promised=True)


def wanted(duty: str, candidate: str | None = "db2") -> NodeDatabase:
    upstream = {"master": None, "replica": CANDIDATE}.get(duty, MASTER)
    return NodeDatabase("blog", 3306, 1, duty, MASTER, upstream, (MASTER, CANDIDATE), (), None, candidate, 1)


places = st.sampled_from([OTHER, ME, ("10.0.0.99", 3307)])
standings = st.builds(
    Standing,
    read_only=st.booleans(), fresh=st.booleans(), known=st.booleans(), upstream=st.none() | places,
    receiving=st.booleans(), applying=st.booleans(), error=st.just(1236), diverged=st.booleans(), words=st.just("…"),
    acked=st.booleans(), acks=st.booleans(), ackers=st.integers(0, 2),
    promised=st.booleans(), torn=st.booleans(), outdated=st.booleans(),
)  # fmt: skip
duties = st.sampled_from(["master", "candidate", "replica", "snapshot"])


@given(standings, duties, st.sampled_from([None, "db2"]))
def test_whatever_a_server_is_it_opens_only_as_the_master_and_closes_first_as_anything_else(
    now: Standing, duty: str, candidate: str | None
) -> None:
    steps = actions_for(now, wanted(duty, candidate))
    if Action.OPEN in steps:
        assert duty == "master"
        assert not now.torn
        assert Action.TAKE_OVER in steps or now.upstream is None
        assert steps.index(Action.OPEN) > max(
            map(steps.index, {Action.TAKE_OVER, Action.ACKED} & set(steps)), default=-1
        )
    if duty == "master":
        assert not {Action.JOIN, Action.FOLLOW, Action.CLOSE, Action.START} & set(steps)
    else:
        assert not {Action.OPEN, Action.TAKE_OVER, Action.ACKED, Action.ACCOUNTS} & set(steps)
        assert now.read_only or steps[0] is Action.CLOSE, "first of all it stops taking writes, whatever else is wrong"
        assert Action.JOIN not in steps or now.fresh or now.torn, "only where there is nothing to lose"
        assert len({Action.FOLLOW, Action.START} & set(steps)) <= 1


@given(standings, duties)
def test_a_server_that_a_person_has_to_look_at_is_closed_and_otherwise_left_alone(now: Standing, duty: str) -> None:
    if stuck(now, wanted(duty)):
        assert set(actions_for(now, wanted(duty))) <= {Action.CLOSE, Action.UNACKED, Action.NO_ACK}


@given(standings, st.sampled_from(["candidate", "replica", "snapshot"]))
def test_data_of_unknown_origin_is_never_touched(now: Standing, duty: str) -> None:
    unknown = replace(now, fresh=False, torn=False, known=False)
    assert "data of its own" in str(stuck(unknown, wanted(duty)))
    assert not {Action.JOIN, Action.FOLLOW, Action.START} & set(actions_for(unknown, wanted(duty)))


def test_a_server_that_has_diverged_stops_and_says_so() -> None:
    broken = replace(SETTLED, error=1032, diverged=True, words="row 7 is not there")
    assert "diverged: row 7 is not there (error 1032)" in str(stuck(broken, wanted("candidate")))
    moved = replace(broken, upstream=("10.0.0.99", 3306))
    assert Action.FOLLOW in actions_for(moved, wanted("candidate")), "of another upstream it says nothing"


def test_who_is_what_it_should_be_has_nothing_to_do() -> None:
    assert actions_for(SETTLED, wanted("candidate")) == ()
    assert actions_for(replace(SETTLED, acks=False), wanted("snapshot")) == ()
    assert actions_for(replace(SETTLED, acks=False, upstream=ME), wanted("replica")) == ()
    assert actions_for(OPEN, wanted("master")) == (Action.ACCOUNTS,)


def test_who_is_to_acknowledge_no_more_connects_anew_for_until_then_it_goes_on() -> None:
    assert actions_for(SETTLED, wanted("snapshot")) == (Action.NO_ACK, Action.FOLLOW)


def test_a_server_that_was_restarted_follows_anew_for_it_may_not_know_where_it_is() -> None:
    assert actions_for(replace(SETTLED, receiving=False, applying=False), wanted("candidate")) == (Action.FOLLOW,)
    assert actions_for(replace(SETTLED, receiving=False), wanted("candidate")) == (Action.START,)


def test_a_password_that_has_changed_is_told_to_the_follower() -> None:
    assert actions_for(replace(SETTLED, outdated=True), wanted("candidate")) == (Action.FOLLOW,)


def test_a_master_waits_for_its_candidate_once_that_has_acknowledged_and_never_again_goes_on_without() -> None:
    new = Standing(read_only=True, fresh=False, known=True)
    assert actions_for(new, wanted("master")) == (Action.OPEN, Action.ACCOUNTS), (
        "or it took no write until one is there"
    )
    again = replace(new, promised=True)
    assert actions_for(again, wanted("master")) == (Action.ACKED, Action.OPEN, Action.ACCOUNTS), (
        "a restart does not end it"
    )
    assert Action.UNACKED in actions_for(OPEN, wanted("master", candidate=None)), "the document does"
    assert Action.UNACKED in actions_for(replace(OPEN, promised=False), wanted("master")), (
        "another one is not there yet"
    )


@pytest.mark.parametrize(("complete", "silent"), [(True, ""), (False, "may have more")])
def test_who_has_all_that_was_acknowledged_need_not_wait_for_a_master_that_is_gone(complete: bool, silent: str) -> None:
    def words(*there: Neighbour) -> str:
        return held_up(there, ME, {OTHER}, complete=complete)

    assert words(Neighbour(OTHER)) == ""
    assert silent in words(Neighbour(OTHER, silent=True, refusal="ERROR 2002"))
    assert bool(silent) == bool(words(Neighbour(OTHER, silent=True, refusal="ERROR 2002")))
    assert "still writes" in words(Neighbour(OTHER, read_only=False))
    assert "still writes" in words(Neighbour(THIRD, read_only=False)), "whoever it is"
    assert "refuses" not in words(Neighbour(OTHER))
    assert "does not tell" in words(Neighbour(OTHER, refusal="ERROR 1040 (HY000): Too many connections"))
    assert words(Neighbour(THIRD, refusal="ERROR 1045 (28000): Access denied")) == "", "it never was a server of this"
    assert "another master" in words(Neighbour(THIRD, acks=True, upstream=OTHER))
    assert words(Neighbour(THIRD, acks=True, upstream=ME)) == ""


@pytest.mark.parametrize(
    ("one", "other", "lacks"),
    [("0-1-41", "0-2-42", True), ("0-1-42", "0-2-42", False), ("0-1-9", "0-1-10", True), ("", "0-1-1", True),
     ("0-1-1", "", False), ("0-1-5,1-1-1", "1-1-2,0-1-5", True), ("0-1-5", "0-1-5,1-1-2", True)],
)  # fmt: skip
def test_positions_are_compared_by_their_numbers(one: str, other: str, lacks: bool) -> None:
    assert older(one, other) == lacks


@pytest.mark.parametrize(
    "said",
    [
        "ERROR 1064 (42000) at line 1: … near 'IDENTIFIED BY 'it''s \\\\ a secret' ' at line 1",
        "ERROR 1470 (HY000): String 'it's \\ a sec' is too long",
        "--------------\nCHANGE MASTER TO MASTER_PASSWORD = 'it''s \\\\ a s\n--------------",
    ],
)
def test_no_message_has_a_secret_however_the_server_quotes_or_cuts_it(said: str) -> None:
    use = Replication("mariadb", ("c",), ("r",), ("d",), "u", "a", 60.0, {})
    shown = Client(use, ["it's \\ a secret", ""]).clean(said)
    assert "it" not in shown
    assert "secret" not in shown
    assert shown.startswith(said.split(" ", maxsplit=1)[0].split("\n", maxsplit=1)[0])
