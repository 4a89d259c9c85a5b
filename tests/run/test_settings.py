"""agent.toml: the example works as it stands, and what is wrong is told all at once."""

from pathlib import Path

import pytest

from rolecall.errors import ConfigFault
from rolecall.forms.mistakes import Mistakes, dotted
from rolecall.settings import load_settings, parse_settings
from samples import AGENT, DATA

SMALL = 'role = "web"\nplatform = "debian"\nstore = ["file:///s"]\n[trust]\nunsigned = true\n'

WIDE = """
[network]
timeout = "1500ms"
release_timeout = "1h"
ca = "/etc/ssl/our-authority.pem"
[aws]
region = "eu-central-1"
credentials = "file:/etc/keys"
imds = ["http://127.0.0.1:8169"]
endpoints = {s3 = "https://minio.example.com:9000", ssm = "http://[::1]:5000"}
[secrets]
keep = true
"""


def refused(text: str) -> Mistakes:
    with pytest.raises(Mistakes) as caught:
        parse_settings(text, "agent.toml")
    return caught.value


def test_the_example_works_as_it_stands() -> None:
    settings = load_settings(DATA / "agent.toml")
    assert (settings.role, settings.platform, settings.trust.fleet) == ("web", "centos", "heavy")
    assert settings.identity == ("ec2", "file:/etc/rolecall/identity.json")
    assert (settings.boot.budget, settings.boot.metadata_timeout) == (1200, 60)
    assert (str(settings.state), str(settings.run)) == ("/var/lib/rolecall", "/run/rolecall")


def test_what_is_left_out_has_a_default() -> None:
    settings = parse_settings(SMALL, "agent.toml")
    assert settings.identity == ("file:/etc/rolecall/identity.json",)
    assert (settings.service_manager, settings.accounts) == ("systemd", "systemd-sysusers")
    assert (settings.paths.root, settings.paths.seed, settings.keep.generations) == ("", None, 5)
    assert (settings.trust.revoked, settings.secrets.keep) == (None, False)
    assert (settings.network.timeout, settings.network.release_timeout, settings.network.ca) == (10, 600, None)
    assert (settings.aws.region, settings.aws.credentials, settings.aws.endpoints) == (None, "instance-role", {})
    assert settings.aws.imds == ("http://169.254.169.254", "http://[fd00:ec2::254]")


def test_how_aws_and_the_network_are_reached_is_set_in_tables_of_their_own() -> None:
    settings = parse_settings(f"{SMALL}{WIDE}", "agent.toml")
    aws, network = settings.aws, settings.network
    assert (aws.region, aws.credentials, aws.imds) == ("eu-central-1", "file:/etc/keys", ("http://127.0.0.1:8169",))
    assert aws.endpoints == {"s3": "https://minio.example.com:9000", "ssm": "http://[::1]:5000"}
    assert (network.timeout, network.release_timeout, network.ca) == (1.5, 3600, "/etc/ssl/our-authority.pem")
    assert settings.secrets.keep is True


def test_a_reporter_has_settings_of_its_own_beside_the_list_of_those_who_are_told() -> None:
    text = SMALL.replace("[trust]", 'readiness = ["store"]\n[reporter.store]\ntimeout = "2m"\n[trust]')
    settings = parse_settings(text, "agent.toml")
    assert (settings.readiness, settings.reporter.store.timeout) == (("store",), 120)
    assert parse_settings(SMALL, "agent.toml").reporter.store.timeout == 60


@pytest.mark.parametrize("source", ["instance-role", "boto3", "file:/etc/rolecall/aws-keys"])
def test_credentials_come_from_one_of_three_places(source: str) -> None:
    assert parse_settings(f'{SMALL}[aws]\ncredentials = "{source}"\n', "agent.toml").aws.credentials == source


def test_keys_may_be_revoked_where_signers_are_named() -> None:
    text = SMALL.replace("unsigned = true", 'signers = "/etc/signers"\nrevoked = "/etc/revoked"')
    assert parse_settings(text, "agent.toml").trust.revoked == "/etc/revoked"


@pytest.mark.parametrize(
    ("old", "new", "path", "says", "remedy"),
    [
        ('role = "web"', 'rol = "web"', "rol", "unknown key", "did you mean 'role'?"),
        ("signers =", "signer =", "trust.signer", "unknown key", "did you mean 'signers'?"),
        ("budget =", "budgt =", "boot.budgt", "unknown key", "did you mean 'budget'?"),
        ('run = "/run', 'rn = "/run', "paths.rn", "unknown key", "did you mean 'run'?"),
        ("[boot]", "[bot]", "bot", "unknown key", "did you mean 'boot'?"),
        ('role = "web"', "role = 1", "role", "must be text in quotes, not 1", ""),
        ('role = "web"', 'role = "Web\\n"', "role", "U+000A", ""),
        ('store = ["s3', 'store = [7, "s3', "store[0]", "must be text in quotes, not 7", ""),
        ('readiness = ["systemd", "store"]', 'readiness = "store"', "readiness", "must be a list", ""),
        ('"20m"', '"20 minutes"', "boot.budget", "is not a duration", ""),
        ('"20m"', "-1", "boot.budget", "greater than or equal to 0", ""),
        ('"20m"', "nan", "boot.budget", "finite number", ""),
        ('"20m"', "inf", "boot.budget", "finite number", ""),
        ('"20m"', "true", "boot.budget", "must be a number, not true", ""),
        ('"20m"', "2026-11-21", "boot.budget", "is not a duration", ""),
        ('"/var/lib/rolecall"', '"var/lib"', "paths.state", "is not an absolute path", ""),
        ('"/var/lib/rolecall"', '"/var/${lib}"', "paths.state", "is not an absolute path", ""),
        ("[trust]", "[trust]\nunsigned = true", "trust", "either signers", ""),
        ("[trust]", "service_manager = 'systmd'\n[trust]", "service_manager", 'is "systmd"', "did you mean 'systemd'?"),
        ("[trust]", "[keep]\ngenerations = 0\n[trust]", "keep.generations", "greater than or equal to 1", ""),
        ("[trust]", "[names]\nport = 1.5\n[trust]", "names.port", "", ""),
        ("[trust]", "[trust]\nrevoked = 'keys'", "trust.revoked", "is not an absolute path", ""),
        ("[trust]", "[trust]\nrevokd = '/keys'", "trust.revokd", "unknown key", "did you mean 'revoked'?"),
        ("[trust]", "[netwrk]\n[trust]", "netwrk", "unknown key", "did you mean 'network'?"),
        ("[trust]", "[network]\ntimeouts = 1\n[trust]", "network.timeouts", "unknown key", "did you mean 'timeout'?"),
        ("[trust]", "[network]\ntimeout = '10'\n[trust]", "network.timeout", "is not a duration", ""),
        ("[trust]", "[network]\ntimeout = -1\n[trust]", "network.timeout", "greater than or equal to 0", ""),
        ("[trust]", "[network]\nrelease_timeout = inf\n[trust]", "network.release_timeout", "finite number", ""),
        ("[trust]", "[network]\nca = 'ca.pem'\n[trust]", "network.ca", "is not an absolute path", ""),
        ("[trust]", "[aws]\nregions = 'x'\n[trust]", "aws.regions", "unknown key", "did you mean 'region'?"),
        ("[trust]", "[aws]\nregion = 'eu central'\n[trust]", "aws.region", "is not a word", ""),
        ("[trust]", "[aws]\nregion = ''\n[trust]", "aws.region", "is not a word", ""),
        ("[trust]", "[aws]\nimds = []\n[trust]", "aws.imds", "must not be empty", ""),
        ("[trust]", "[aws]\nimds = 'http://x'\n[trust]", "aws.imds", "must be a list", ""),
        ("[trust]", "[aws]\ncredentials = 'env'\n[trust]", "aws.credentials", "'env' is not a source", ""),
        ("[trust]", "[aws]\ncredentials = 'file:keys'\n[trust]", "aws.credentials", "'file:keys' is not a source", ""),
        ("[trust]", '[aws]\ncredentials = "file:/a\\nb"\n[trust]', "aws.credentials", "U+000A", ""),
        ("[trust]", "[aws.endpoints]\ns3 = 1\n[trust]", "aws.endpoints.s3", "must be text in quotes, not 1", ""),
        ("[trust]", "[aws]\nendpoints = 'x'\n[trust]", "aws.endpoints", "must be an object", ""),
        ("[trust]", "[reporter]\nstor = {timeout = 1}\n[trust]", "reporter.stor", "unknown key", "mean 'store'?"),
        ("[trust]", "[reporter.store]\ntimout = 1\n[trust]", "reporter.store.timout", "unknown key", "did you mean"),
        ("[trust]", "[reporter.store]\ntimeout = 0\n[trust]", "reporter.store.timeout", "greater than 0", ""),
        ("[trust]", "[secrets]\nkeep = 'yes'\n[trust]", "secrets.keep", "must be true or false", ""),
        ("[trust]", "[secrets]\nkeeep = true\n[trust]", "secrets.keeep", "unknown key", "did you mean 'keep'?"),
    ],
)
def test_each_mistake_is_told_with_its_path_its_place_and_a_remedy(
    old: str, new: str, path: str, says: str, remedy: str
) -> None:
    assert AGENT.count(old) == 1
    text = AGENT.replace(old, new)
    refusal = refused(text)
    mistakes = [
        mistake for mistake in refusal.mistakes if dotted(mistake.path).startswith(path) and says in mistake.message
    ]
    assert mistakes, str(refusal)
    assert remedy in mistakes[0].hint
    pointed = text.splitlines()[mistakes[0].line - 1][mistakes[0].column - 1 :]
    assert pointed.startswith(path.rsplit(".", maxsplit=1)[-1].partition("[")[0]), pointed


def test_revoked_keys_mean_nothing_where_every_key_is_believed() -> None:
    refusal = refused(SMALL + 'revoked = "/etc/revoked"\n')
    assert [(dotted(mistake.path), mistake.message) for mistake in refusal.mistakes] == [
        ("trust", "revoked needs signers: without them no signature is checked")
    ]


def test_all_mistakes_are_told_at_once() -> None:
    refusal = refused('role = 1\nstorex = []\n[trust]\nunsigned = "yes"\n[boot]\nbudget = "x"\n')
    assert [dotted(mistake.path) for mistake in refusal.mistakes if mistake.line > 1] == [
        "storex", "trust.unsigned", "boot.budget",
    ]  # fmt: skip
    assert {dotted(mistake.path) for mistake in refusal.mistakes} >= {"role", "platform", "store"}


@pytest.mark.parametrize("text", ["", "role", 'role = "web', "role = 1\nrole = 2", "[[[", "a = " + "[" * 9000, "a = 1e",
                                  "a = " + "9" * 9000, "a.b = 1\na = 2", "\ufeff", "{}", "\0"])  # fmt: skip
def test_what_is_no_toml_or_empty_is_refused(text: str) -> None:
    assert refused(text).exit_code == 78


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), (b"role = '\xff'", "not UTF-8")])
def test_a_file_that_cannot_be_read_is_named_with_a_remedy(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "agent.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigFault, match=says) as caught:
        load_settings(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="Is a directory"):
        load_settings(tmp_path)
