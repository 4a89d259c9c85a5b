"""What a database server decides to do: whatever it finds, it never opens a second master nor overwrites data."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.database.client import Client
from rolecall.database.mastership import reason_to_wait
from rolecall.database.positions import is_behind
from rolecall.database.replication import Action, actions_for, blocking_fault
from rolecall.database.states import RemoteState, ServerState
from rolecall.fleet.topology import Endpoint, NodeDatabase
from rolecall.render.contents import Replication

MASTER, CANDIDATE = Endpoint("db1", "10.0.0.21", 3306), Endpoint("db2", "10.0.0.22", 3306)
ME, OTHER, THIRD = ("10.0.0.22", 3306), ("10.0.0.21", 3306), ("10.0.0.23", 3306)
CONVERGED = ServerState(
    read_only=True, fresh=False, has_history=True, upstream=OTHER, receiving=True, applying=True, acknowledges=True
)
MASTER_STATE = ServerState(
    read_only=False,
    fresh=False,
    has_history=True,
    waits_for_acks=True,
    acknowledging_replicas=1,
    acks_required=True,
    opened=True,
)


def target(duty: str, candidate: str | None = "db2") -> NodeDatabase:
    upstream = {"master": None, "replica": CANDIDATE}.get(duty, MASTER)
    return NodeDatabase("blog", 3306, 1, duty, MASTER, upstream, (MASTER, CANDIDATE), (), None, candidate, "db1", 1000)


addresses = st.sampled_from([OTHER, ME, ("10.0.0.99", 3307)])
states = st.builds(
    ServerState,
    read_only=st.booleans(),
    fresh=st.booleans(),
    has_history=st.booleans(),
    upstream=st.none() | addresses,
    receiving=st.booleans(),
    applying=st.booleans(),
    error=st.just(1236),
    error_text=st.just("…"),
    diverged=st.booleans(),
    waits_for_acks=st.booleans(),
    acknowledges=st.booleans(),
    acknowledging_replicas=st.integers(0, 2),
    acks_required=st.booleans(),
    opened=st.booleans(),
    complete=st.booleans(),
    restore_incomplete=st.booleans(),
    password_outdated=st.booleans(),
)
duties = st.sampled_from(["master", "candidate", "replica", "snapshot"])


@given(states, duties, st.sampled_from([None, "db2"]))
def test_whatever_a_server_is_it_opens_only_as_the_master_and_closes_first_as_anything_else(
    state: ServerState, duty: str, candidate: str | None
) -> None:
    actions = actions_for(state, target(duty, candidate))
    if Action.SET_WRITABLE in actions:
        assert duty == "master"
        assert not state.restore_incomplete
        assert Action.TAKE_OVER in actions or (state.upstream is None and (state.opened or state.fresh))
        assert actions.index(Action.SET_WRITABLE) > max(
            map(actions.index, {Action.TAKE_OVER, Action.WAIT_FOR_ACKS} & set(actions)), default=-1
        )
    if duty == "master":
        assert not {Action.RESTORE, Action.FOLLOW, Action.RESUME} & set(actions)
        if Action.TAKE_OVER in actions:
            assert state.read_only or actions[0] is Action.SET_READ_ONLY, "others may have been master since"
    else:
        assert not {Action.SET_WRITABLE, Action.TAKE_OVER, Action.WAIT_FOR_ACKS, Action.UPDATE_ACCOUNTS} & set(actions)
        assert state.read_only or actions[0] is Action.SET_READ_ONLY, (
            "first of all it stops taking writes, whatever else is wrong"
        )
        assert Action.RESTORE not in actions or state.fresh or state.restore_incomplete, (
            "only where there is nothing to lose"
        )
        assert len({Action.FOLLOW, Action.RESUME} & set(actions)) <= 1


@given(states, duties)
def test_a_server_that_a_person_has_to_look_at_is_closed_and_otherwise_left_alone(
    state: ServerState, duty: str
) -> None:
    if blocking_fault(state, target(duty)):
        assert set(actions_for(state, target(duty))) <= {
            Action.SET_READ_ONLY,
            Action.STOP_WAITING_FOR_ACKS,
            Action.STOP_ACKNOWLEDGING,
        }


@given(states, st.sampled_from(["candidate", "replica", "snapshot"]))
def test_data_of_unknown_origin_is_never_touched(state: ServerState, duty: str) -> None:
    unknown = replace(state, fresh=False, restore_incomplete=False, has_history=False)
    assert "data of its own" in str(blocking_fault(unknown, target(duty)))
    assert not {Action.RESTORE, Action.FOLLOW, Action.RESUME} & set(actions_for(unknown, target(duty)))


def test_a_server_that_has_diverged_stops_and_says_so() -> None:
    broken = replace(CONVERGED, error=1032, diverged=True, error_text="row 7 is not there")
    assert "diverged: row 7 is not there (error 1032)" in str(blocking_fault(broken, target("candidate")))
    moved = replace(broken, upstream=("10.0.0.99", 3306))
    assert Action.FOLLOW in actions_for(moved, target("candidate")), "of another upstream it says nothing"


def test_who_is_what_it_should_be_has_nothing_to_do() -> None:
    assert actions_for(CONVERGED, target("candidate")) == ()
    assert actions_for(replace(CONVERGED, acknowledges=False), target("snapshot")) == ()
    assert actions_for(replace(CONVERGED, acknowledges=False, upstream=ME), target("replica")) == ()
    assert actions_for(MASTER_STATE, target("master")) == (Action.UPDATE_ACCOUNTS,)


def test_who_is_to_acknowledge_no_more_connects_anew_for_until_then_it_goes_on() -> None:
    assert actions_for(CONVERGED, target("snapshot")) == (Action.STOP_ACKNOWLEDGING, Action.FOLLOW)


def test_a_server_that_was_restarted_follows_anew_for_it_may_not_know_where_it_is() -> None:
    assert actions_for(replace(CONVERGED, receiving=False, applying=False), target("candidate")) == (Action.FOLLOW,)
    assert actions_for(replace(CONVERGED, receiving=False), target("candidate")) == (Action.RESUME,)


def test_a_password_that_has_changed_is_told_to_the_follower() -> None:
    assert actions_for(replace(CONVERGED, password_outdated=True), target("candidate")) == (Action.FOLLOW,)


def test_a_master_waits_for_its_candidate_once_that_has_acknowledged_and_never_again_goes_on_without() -> None:
    new = ServerState(read_only=True, fresh=False, has_history=True, opened=True)
    assert actions_for(new, target("master")) == (Action.SET_WRITABLE, Action.UPDATE_ACCOUNTS), (
        "or it took no write until one is there"
    )
    again = replace(new, acks_required=True)
    assert actions_for(again, target("master")) == (
        Action.WAIT_FOR_ACKS,
        Action.SET_WRITABLE,
        Action.UPDATE_ACCOUNTS,
    ), "a restart does not end it"
    assert Action.STOP_WAITING_FOR_ACKS in actions_for(MASTER_STATE, target("master", candidate=None)), (
        "the document does"
    )
    assert Action.STOP_WAITING_FOR_ACKS in actions_for(replace(MASTER_STATE, acks_required=False), target("master")), (
        "another one is not there yet"
    )


@pytest.mark.parametrize(("complete", "reason"), [(True, ""), (False, "this server lacks")])
def test_who_has_all_that_was_acknowledged_need_not_wait_for_a_master_that_is_gone(complete: bool, reason: str) -> None:
    def words(server: RemoteState) -> str:
        return reason_to_wait([server], ME, {OTHER}, set() if complete else {OTHER, THIRD})

    assert words(RemoteState(OTHER)) == ""
    assert RemoteState(("fd00::21", 3306)).name == "[fd00::21]:3306"
    assert reason in words(RemoteState(OTHER, unreachable=True, error="ERROR 2002"))
    assert bool(reason) == bool(words(RemoteState(OTHER, unreachable=True, error="ERROR 2002")))
    assert "still takes writes" in words(RemoteState(OTHER, read_only=False))
    assert "still takes writes" in words(RemoteState(THIRD, read_only=False)), "whoever it is"
    assert "does not tell" in words(RemoteState(OTHER, error="ERROR 1040 (HY000): Too many connections"))
    assert words(RemoteState(THIRD, error="ERROR 1045 (28000): Access denied")) == "", "it never was a server of this"
    assert "another master" in words(RemoteState(THIRD, acknowledges=True, upstream=OTHER))
    assert words(RemoteState(THIRD, acknowledges=True, upstream=ME)) == ""


@pytest.mark.parametrize(
    ("position", "other", "behind"),
    [("0-1-41", "0-2-42", True), ("0-1-42", "0-2-42", False), ("0-1-9", "0-1-10", True), ("", "0-1-1", True),
     ("0-1-1", "", False), ("0-1-5,1-1-1", "1-1-2,0-1-5", True), ("0-1-5", "0-1-5,1-1-2", True)],
)  # fmt: skip
def test_positions_are_compared_by_their_numbers(position: str, other: str, behind: bool) -> None:
    assert is_behind(position, other) == behind


@pytest.mark.parametrize(
    "message",
    [
        "ERROR 1064 (42000) at line 1: … near 'IDENTIFIED BY 'it''s \\\\ a secret' ' at line 1",
        "ERROR 1470 (HY000): String 'it's \\ a sec' is too long",
        "--------------\nCHANGE MASTER TO MASTER_PASSWORD = 'it''s \\\\ a s\n--------------",
    ],
)
def test_no_message_has_a_secret_however_the_server_quotes_or_cuts_it(message: str) -> None:
    use = Replication("mariadb", ("c",), ("r",), ("d",), "u", "a", 60.0, {})
    shown = Client(use, ["it's \\ a secret", ""]).redacted(message)
    assert "it" not in shown
    assert "secret" not in shown
    assert shown.startswith(message.split(" ", maxsplit=1)[0].split("\n", maxsplit=1)[0])


@pytest.mark.parametrize(
    "message",
    [
        "Error 'no' on query. Default database: ''. Query: 'ALTER USER 'blog'@'a' IDENTIFIED BY 'it''s secret' '",
        "Query: 'CREATE USER `blog`@`a` IDENTIFIED VIA mysql_native_password USING 'secret''",
        "Query: 'SET PASSWORD FOR 'blog'@'a' = PASSWORD(\"secret",
    ],
)
def test_who_does_not_know_the_passwords_shows_nothing_that_stands_in_their_place(message: str) -> None:
    shown = Client(Replication("mariadb", ("c",), ("r",), ("d",), "u", "a", 60.0, {})).redacted(message)
    assert "secret" not in shown
    assert shown.startswith(message[:20])


def test_an_error_without_a_password_is_told_whole() -> None:
    message = "error connecting to 'rolecall@a:3306': Access denied for user 'rolecall'@'b' (using password: YES)"
    assert Client(Replication("mariadb", ("c",), ("r",), ("d",), "u", "a", 60.0, {})).redacted(message) == message
