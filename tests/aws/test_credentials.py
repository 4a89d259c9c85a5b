"""Credentials: where they are read from, and that no message shows them."""

import math
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rolecall.aws.credentials import EARLY, Credentials, find, of_boto3, of_file, of_role, parse_lines
from rolecall.aws.imds import Imds as ImdsClient
from rolecall.errors import Fault, FetchFault
from servers.imds import Imds

SECRET = "canary+of/the=secret"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def imds() -> Iterator[Imds]:
    with Imds() as server:
        yield server


def nobody() -> ImdsClient:
    """A metadata service that must not be asked."""
    return ImdsClient(("http://127.0.0.1:9",))


def written(folder: Path, text: str | bytes, mode: int = 0o600) -> str:
    path = folder / "keys"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return str(path)


# As such


def test_credentials_show_no_secret() -> None:
    made = Credentials("AKIA", SECRET, "token-canary", 5.0)
    assert repr(made) == "Credentials(key_id='AKIA', expires=5.0)"
    assert SECRET not in str(made)


def test_credentials_are_used_until_shortly_before_their_end() -> None:
    made = Credentials("AKIA", SECRET, "", 10_000.0)
    assert made.good(10_000 - EARLY - 1)
    assert not made.good(10_000 - EARLY)
    assert not made.good(20_000)
    assert Credentials("AKIA", SECRET).good(1e12), "those of a file have no end"


@pytest.mark.parametrize(
    "made",
    [
        Credentials("AKIA", SECRET, "token", 1_800_000_000.25),
        Credentials("AKIA", SECRET, "", math.inf),
        Credentials("AKIA", "x" * 500, "y" * 3000),
    ],
)
def test_what_is_written_down_is_read_again(made: Credentials) -> None:
    assert parse_lines(made.lines()) == made


@pytest.mark.parametrize(
    "text", ["", "\n", "a\nb\nc\n", "a\nb\nc\nsoon\n", "a\nb\nc\n5", "a\nb\nc\n5\nmore\n", "\0" * 9]
)
def test_what_is_no_such_note_is_none(text: str) -> None:
    assert parse_lines(text) is None


# A file


def test_a_file_as_the_aws_tools_write_it_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# ours\n[other]\naws_access_key_id = OTHER\naws_secret_access_key = other\n"
        f"[default]\nregion = eu-west-1\naws_access_key_id=AKIA\nAWS_SECRET_ACCESS_KEY = {SECRET}%d%%\n",
    )
    assert of_file(path) == Credentials("AKIA", f"{SECRET}%d%%", "", math.inf)
    assert find(f"file:{path}", nobody(), 0.0).key_id == "AKIA"


def test_a_files_session_token_is_read_too(tmp_path: Path) -> None:
    path = written(
        tmp_path, f"[default]\naws_access_key_id=A\naws_secret_access_key={SECRET}\naws_session_token = T=\n"
    )
    assert of_file(path).token == "T="


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o777])
def test_a_file_that_is_open_to_everybody_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, f"[default]\naws_access_key_id=A\naws_secret_access_key={SECRET}\n", mode)
    with pytest.raises(FetchFault, match="read by everybody") as told:
        of_file(path)
    assert told.value.hint == f"chmod 0600 {path}"


def test_a_file_that_a_group_may_read_is_used(tmp_path: Path) -> None:
    assert of_file(written(tmp_path, f"[default]\naws_access_key_id=A\naws_secret_access_key={SECRET}\n", 0o640))


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"aws_secret_access_key={SECRET}",
        f"[default]\naws_access_key_id = {SECRET}\n",
        f"[default]\naws_secret_access_key = {SECRET}\n",
        f"[other]\naws_access_key_id = A\naws_secret_access_key = {SECRET}\n",
        f"[default]\n{SECRET}\n",
        f"[default\naws_secret_access_key = {SECRET}\n",
        f"[default]\naws_secret_access_key = a\naws_secret_access_key = {SECRET}\n",
        f"[default]\n[default]\naws_secret_access_key = {SECRET}\n",
        f"[default]\naws_access_key_id =\naws_secret_access_key = {SECRET}\n",
        f"[default]\naws_access_key_id = A\naws_secret_access_key =\n# {SECRET}\n",
        b"\xff\xfe" + SECRET.encode(),
        b"\0" * 100 + SECRET.encode(),
        f'{{"default": {{"aws_secret_access_key": "{SECRET}"}}}}',
    ],
)
def test_a_file_that_is_none_of_credentials_is_refused_and_not_shown(tmp_path: Path, text: str | bytes) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FetchFault) as told:
        of_file(path)
    assert (told.value.cause, path in told.value.message, "[default]" in told.value.hint) == (
        "no-credentials",
        True,
        True,
    )
    assert SECRET not in f"{told.value.message}{told.value.hint}{told.value.__cause__}"
    assert told.value.__suppress_context__, "nor in a traceback"


@pytest.mark.parametrize("what", ["nothing", "a folder", "a loop"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "keys"
    if what == "a folder":
        path.mkdir(0o700)
    if what == "a loop":
        path.symlink_to(path)
    with pytest.raises(FetchFault) as told:
        of_file(str(path))
    assert (told.value.cause, str(path) in told.value.message) == ("no-credentials", True)


# A role


def test_the_credentials_of_a_role_have_an_end(imds: Imds) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    imds.role("web", "ASIA", SECRET, "token", ends)
    client = ImdsClient((imds.url,))
    assert find("instance-role", client, time.monotonic() + 5) == Credentials("ASIA", SECRET, "token", ends.timestamp())


def test_of_several_roles_the_first_is_taken(imds: Imds) -> None:
    imds.role("web", "ASIA", SECRET, "token")
    imds.meta["iam"]["security-credentials"]["zzz"] = {"Code": "Failed"}
    assert of_role(ImdsClient((imds.url,)), time.monotonic() + 5).key_id == "ASIA"


@pytest.mark.parametrize(
    ("role", "cause"),
    [
        (None, "no-role"),
        ({}, "no-role"),
        ({"web": {"Code": "Success"}}, "credentials-pending"),
        ({"web": {"Code": "Success", "AccessKeyId": "A", "SecretAccessKey": SECRET}}, "credentials-pending"),
        ({"web": "soon"}, "credentials-pending"),
        ({"web": {"Code": "AssumeRoleUnauthorizedAccess", "Message": "no trust"}}, "role-broken"),
        ({"web": {"Code": "Failed"}}, "role-broken"),
        ({"web": {}}, "role-broken"),
    ],
)
def test_a_role_that_gives_none_is_told_with_its_cause(imds: Imds, role: dict[str, object] | None, cause: str) -> None:
    if role is not None:
        imds.meta["iam"] = {"security-credentials": role}
    with pytest.raises(FetchFault) as told:
        of_role(ImdsClient((imds.url,)), time.monotonic() + 5)
    assert told.value.cause == cause
    assert told.value.hint
    assert SECRET not in f"{told.value.message}{told.value.hint}"


@pytest.mark.parametrize("value", [None, 5, "", [], {}])
def test_half_of_a_roles_credentials_are_none(imds: Imds, value: object) -> None:
    """boto3 looks elsewhere for what it is given as None."""
    causes = {}
    for part in ("AccessKeyId", "SecretAccessKey", "Token", "Expiration"):
        imds.role("web", "ASIA", SECRET, "token")
        imds.meta["iam"]["security-credentials"]["web"][part] = value
        try:
            causes[part] = f"taken: {of_role(ImdsClient((imds.url,)), time.monotonic() + 5)}"
        except FetchFault as fault:
            causes[part] = fault.cause
    assert causes == dict.fromkeys(causes, "credentials-pending")


# The AWS tools


def test_the_aws_tools_have_them_from_the_environment_or_a_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "home" / ".aws").mkdir(parents=True)
    keys = f"aws_access_key_id = PROFILE\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "home" / ".aws" / "credentials").write_text(f"[ops]\n{keys}")
    with pytest.raises(FetchFault) as told:
        find("boto3", nobody(), 0.0)
    assert told.value.cause == "no-credentials"
    monkeypatch.setenv("AWS_PROFILE", "ops")
    assert (of_boto3().key_id, of_boto3().secret) == ("PROFILE", SECRET)
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    found = of_boto3()
    assert (found.key_id, found.token) == ("ENVIRONMENT", "")
    assert found.good(time.time()), "for this run"
    assert not found.good(time.time() + 600), "what renews them is asked anew"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("AWS_PROFILE", ""),
        ("AWS_CONFIG_FILE", "[default\n"),
        ("AWS_CONFIG_FILE", f"[default]\ncredential_process = /bin/false {SECRET}\n"),
        ("AWS_SHARED_CREDENTIALS_FILE", f"[default]\naws_access_key_id = {SECRET}\n"),
        ("AWS_SHARED_CREDENTIALS_FILE", f"[default]\n{SECRET}\n[default]\n"),
    ],
)
def test_what_is_wrong_with_the_aws_tools_settings_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "settings").write_text(text)
    monkeypatch.setenv(name, str(tmp_path / "settings"))
    with pytest.raises(Fault) as told:
        of_boto3()
    assert told.value.cause == "no-credentials"
