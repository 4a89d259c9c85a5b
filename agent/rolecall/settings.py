"""/etc/rolecall/agent.toml as a type: what the image fixed. Everything else comes from the fleet document."""

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from rolecall.errors import ConfigFault, fault_of
from rolecall.forms.mistakes import Mistakes, locate, mistakes_of
from rolecall.forms.positions import parse_toml, toml_positions
from rolecall.forms.scalars import AbsolutePath, Duration, Frozen, Name, Text, Word

DEFAULT_PATH = Path("/etc/rolecall/agent.toml")


class Trust(Frozen):
    """Who may speak for the fleet: signers' keys, or, said aloud in every report, nobody in particular."""

    signers: AbsolutePath | None = None
    unsigned: bool = False
    revoked: AbsolutePath | None = Field(None, description="Public keys, one per line, that are no longer trusted")
    fleet: Name | None = Field(None, description="The fleet this image belongs to; another one's document is refused")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.signers is None) == (not self.unsigned):
            raise ValueError('set either signers = "/path" or unsigned = true')
        if self.revoked and not self.signers:
            raise ValueError("revoked needs signers: without them no signature is checked")
        return self


class Paths(Frozen):
    """Where the node lives; `root` puts a whole node below one folder (the demo and the tests do)."""

    state: AbsolutePath = "/var/lib/rolecall"
    run: AbsolutePath = "/run/rolecall"
    root: AbsolutePath | Literal[""] = ""
    templates: AbsolutePath | None = Field(None, description="Folder of roles; by default the one that was installed")
    seed: AbsolutePath | None = Field(
        None, description="A document baked into the image: the last thing to fall back on"
    )


class Boot(Frozen):
    """Deadlines."""

    budget: Duration = 1200.0
    metadata_timeout: Duration = 60.0
    selftest_deadline: Duration = 120.0


class Refresh(Frozen):
    """What the timer's runs do."""

    full_every: Duration = Field(
        900.0, description="How often a refresh compares and tests everything even if nothing has changed"
    )


class Drain(Frozen):
    """Leaving."""

    wait: Duration = Field(
        0.0, description="How long requests may still come after others were told: a DNS record's TTL, or a drain delay"
    )


class Network(Frozen):
    """Limits of what is asked of others, each for the whole question: names, connections, retries, the last byte."""

    timeout: Duration = Field(10.0, description="For a document, a report or a secret, of each store")
    release_timeout: Duration = Field(600.0, description="For a release's archive")
    ca: AbsolutePath | None = Field(
        None, description="Certificates of the authorities to trust, instead of the system's"
    )


class Aws(Frozen):
    """How AWS, or what speaks its protocols, is reached. Nothing need be set on EC2."""

    region: Word | None = Field(None, description="By default the instance's own")
    credentials: Text = Field("instance-role", description="instance-role, file:/path, or boto3 for its own search")
    imds: tuple[Text, ...] = Field(("http://169.254.169.254", "http://[fd00:ec2::254]"), min_length=1)
    endpoints: dict[Name, Text] = Field({}, description="Other addresses by service: s3, ssm, secretsmanager")

    @property
    def credentials_file(self) -> str:
        """The file that holds the credentials; '' where they come from elsewhere."""
        kind, _, path = self.credentials.partition(":")
        return path if kind == "file" else ""

    @field_validator("credentials")
    @classmethod
    def _known(cls, source: str) -> str:
        if source not in ("instance-role", "boto3") and not source.startswith("file:/"):
            raise ValueError(f"{source!r} is not a source of credentials: 'instance-role', 'file:/path' or 'boto3'")
        return source


class Access(Frozen):
    """What reaching others takes: the limits, and a table for each provider. A laptop has this part alone."""

    network: Network = Network()
    aws: Aws = Aws()

    @property
    def credentials_files(self) -> tuple[str, ...]:
        """The files of this machine that hold a provider's credentials."""
        return tuple(filter(None, (self.aws.credentials_file,)))


class SecretSettings(Frozen):
    """What becomes of secrets that a store holds."""

    keep: bool = Field(False, description="Keep the last value on disk, 0600, for when their store is out")


class ReporterSettings(Frozen):
    """What every reporter has. One that needs more has a class of its own below this one."""

    timeout: Duration = Field(
        60.0, gt=0, description="How long it may take; the other reporters get the report all the same"
    )


class Reporters(Frozen):
    """A table for each reporter there is, whether `readiness` names it or not."""

    systemd: ReporterSettings = ReporterSettings(timeout=10.0)
    store: ReporterSettings = ReporterSettings()
    textfile: ReporterSettings = ReporterSettings(timeout=10.0)


class Keep(Frozen):
    """How much of the past stays on disk."""

    generations: int = Field(5, ge=1)
    reports: int = Field(50, ge=1)


class Settings(Access):
    """All of agent.toml."""

    role: Name
    platform: Name = Field(
        description="A table of names in role.toml, such as centos, debian or centos-mysql: set, never guessed"
    )
    identity: tuple[Text, ...] = Field(("file:/etc/rolecall/identity.json",), min_length=1)
    store: tuple[Text, ...] = Field(min_length=1)
    readiness: tuple[Text, ...] = ("systemd", "store", "textfile")
    reporter: Reporters = Reporters()
    service_manager: Literal["systemd", "direct"] = "systemd"
    accounts: Literal["systemd-sysusers", "none"] = "systemd-sysusers"
    trust: Trust
    paths: Paths = Paths()
    boot: Boot = Boot()
    refresh: Refresh = Refresh()
    drain: Drain = Drain()
    keep: Keep = Keep()
    secrets: SecretSettings = SecretSettings()
    names: dict[str, str | int] = Field({}, description="Names of the platform's table that differ on this image")

    @property
    def state(self) -> Path:
        """The folder of generations, releases and the two links."""
        return Path(self.paths.state)

    @property
    def run(self) -> Path:
        """The folder that a reboot empties: the lock, and what the daemons have loaded."""
        return Path(self.paths.run)


def parse_settings(text: str, source: str) -> Settings:
    """Settings from TOML. Raises Mistakes (a ConfigFault) with everything that is wrong."""
    data = parse_toml(text, source)
    try:
        # By way of JSON, since strict types take a list for a tuple from there only.
        return Settings.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise Mistakes(source, locate(mistakes_of(error, Settings), toml_positions(text))) from None


def load_settings(path: Path) -> Settings:
    """Read agent.toml. Raises ConfigFault if it is not there or wrong."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        hint = "an image has it baked in; --config names another file"
        raise fault_of(error, f"cannot read the settings {path}: {error.strerror}", hint, ConfigFault) from None
    except UnicodeDecodeError:
        raise ConfigFault(f"the settings {path} are not UTF-8", "save them as UTF-8") from None
    return parse_settings(text, str(path))
