"""The units as systemd-analyze reads them, among the units of an image."""

import re
import shutil
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from box import ROOT
from roots import mounted, sh

UNITS = ROOT / "packaging/systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))


@pytest.fixture(scope="module")
def root(memory: Path, image: list[Path]) -> Iterator[Path]:
    """The tree of an image that nobody has booted."""
    with mounted(memory / "analyzed/root", memory / "analyzed/top", *image) as made:
        yield made


def test_every_unit_is_right_among_the_units_of_an_image(root: Path) -> None:
    names = sorted(path.name for path in UNITS.glob("rolecall-*"))
    assert names == ["rolecall-boot.service", "rolecall-drain.service", "rolecall-ready.target",
                     "rolecall-refresh.service", "rolecall-refresh.timer"]  # fmt: skip
    paths = [f"/usr/lib/systemd/system/{name}" for name in names]
    said = sh("chroot", root, "systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", *paths)
    assert said == ""


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_do_little_of_what_root_may(root: Path, service: str) -> None:
    shutil.copy(UNITS / service, root / "tmp")
    judge = ("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=40")  # at most 4.0 of 10
    sh("chroot", root, *judge, f"/tmp/{service}")


def test_both_runs_may_do_the_same() -> None:
    def sandbox(name: str) -> list[str]:
        text = (UNITS / name).read_text()
        return re.findall(r"(?m)^(?:NoNew|Protect|Private|Keyring|Lock|Restrict|SystemCall|Capability|UMask).*", text)

    assert sandbox("rolecall-boot.service") == sandbox("rolecall-refresh.service")
    assert len(sandbox("rolecall-boot.service")) > 15


def test_no_daemon_waits_for_the_agent_longer_than_until_it_has_failed(root: Path) -> None:
    drop_ins = sorted(root.glob("etc/systemd/system/*.d/rolecall.conf"))
    names = {path.parent.name for path in drop_ins}
    assert names == {f"{name}.service.d" for name in ("apache2", "cron", "munin-node", "php8.2-fpm")}
    for path in drop_ins:
        parsed = ConfigParser()
        parsed.optionxform = str  # type: ignore[assignment,method-assign]
        parsed.read_string(path.read_text())
        assert parsed["Unit"]["After"] == "rolecall-boot.service"
        assert parsed["Unit"]["Before"] == "rolecall-drain.service", "stopped after others were told"
        assert set(parsed["Unit"]) == {"After", "Before", "ConditionPathExists"}, "ordered, never required"
