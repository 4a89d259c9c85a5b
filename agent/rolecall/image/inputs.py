"""What an image build is given, judged before it begins: a folder has it where an image has it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rolecall.image.check import attempt, bare_generation, check_seed, check_trust
from rolecall.image.root import Finding, Image
from rolecall.settings import Settings, load_settings

SIGNERS, SEED = "/etc/rolecall/allowed_signers", "/etc/rolecall/seed.json"


def judge(root: Path, config: Path, *, allow_unsigned: bool = False) -> list[Finding]:
    """Everything that is wrong with settings, signers, seed and role. `config` is a path within the root.

    What the settings name elsewhere than in /etc/rolecall is not a build's to write, and not looked at. With settings
    that cannot be read the seed is judged by the signers alone.
    """
    image, findings = Image(root.absolute()), list[Finding]()
    settings = attempt(findings, "settings", partial(load_settings, image.locate(str(config))))
    if settings:
        findings += _given(image, SIGNERS, settings.trust.signers, "--signers", "trust.signers")
        findings += _given(image, SEED, settings.paths.seed, "--seed", "paths.seed")
        attempt(findings, "role", partial(bare_generation, image, settings))
    settings = settings or _stand_in()
    if not settings.trust.signers or image.locate(settings.trust.signers).exists():
        findings += check_trust(image, settings, allow_unsigned=allow_unsigned)
        if settings.paths.seed and image.locate(settings.paths.seed).exists():
            findings += check_seed(image, settings)
    return findings


def _stand_in() -> Settings:
    trust, paths = {"signers": SIGNERS}, {"seed": SEED}
    stores = {"role": "web", "platform": "debian", "store": ("file:///",)}
    return Settings.model_validate({**stores, "trust": trust, "paths": paths})


def _given(image: Image, place: str, named: str | None, option: str, key: str) -> Iterator[Finding]:
    """A file that the settings name has to be given, and one that is given has to be named."""
    given = image.locate(place).exists()
    if given and named != place:
        yield Finding("settings", f"{option} is given, but {key} of agent.toml does not name it", f'{key} = "{place}"')
    if named == place and not given:
        yield Finding("settings", f"{key} of agent.toml names {place}, which is not given", f"{option} FILE")
