"""The packages for CentOS Stream, installed, upgraded and removed by rpm and dnf.

There is no CentOS here: rpm installs into a Debian 12, where the scriptlets find a real systemd, and a Python 3.12 of
this machine, if it has one, runs what was installed. Where CentOS itself is needed, stand-ins log their words.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builds import NEXT, VERSION, Builds
from packages.debian import Root, fresh_root
from packages.test_contents import SERVICES, contexts
from packages.test_deb import CLIENTS, stays
from roots import python312

FOLDERS = "/etc/rolecall", "/run/rolecall", "/var/lib/rolecall", "/var/lib/rolecall/reports"
LOGGING = '#!/bin/sh\necho "${{0##*/}} $*" >>/root/log\n{then}\n'
SYSTEMCTL = (
    'case "$1" in daemon-reload|try-restart|stop|reset-failed) exit ;; esac; SYSTEMD_OFFLINE=1 exec "$0.real" "$@"'
)
# As a machine where the operator has given the releases a type of their own; what is imported is logged.
SEMANAGE = """case "$*" in
*--list*) echo "/var/lib/rolecall/releases(/.*)?      all files      system_u:object_r:operators_t:s0 " ;;
import*) cat >>/root/log ;;
esac"""
# Provides of the packages of CentOS that ours asks for.
STUBS = {
    "python3": ["/usr/bin/python3", "python(abi) = 3.12"],
    "python3.12": ["/usr/bin/python3.12", "python(abi) = 3.12"],
    **{name: [] for name in ("python3-systemd", "systemd", "openssh-clients", "ca-certificates", "util-linux")},
    "bash": ["/bin/sh"],
}


@pytest.fixture(scope="module")
def root() -> Iterator[Root]:
    """A Debian 12 without the package; the tests of this file take turns at it, from installation to removal."""
    with fresh_root() as made:
        (made.path / "run/systemd/system").mkdir(parents=True)  # as on a machine that systemd has booted
        for name, then in (("semanage", SEMANAGE), ("restorecon", ""), ("systemctl", SYSTEMCTL)):
            program = made.path / "usr/bin" / name
            if program.exists():
                program.rename(program.with_name(f"{name}.real"))
            program.write_text(LOGGING.format(then=then))
            program.chmod(0o755)
        yield made


def rpm(root: Root, *words: str, ok: bool = True) -> str:
    """Run rpm on the root; its scriptlets run inside."""
    done = root.run("rpm", "--root", str(root.path), "--dbpath", "/var/lib/rpm", *words, chroot=False, ok=ok)
    assert "scriptlet failed" not in done.stderr
    noise = re.compile(r"rpm: (RPM should not be used|However assuming you know).*\n")
    return done.stdout + noise.sub("", done.stderr)


def told(root: Root) -> list[str]:
    """What the stand-ins were told since the last call."""
    log = root.path / "root/log"
    words = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return words


def run_python(root: Root, *argv: str) -> str:
    """Run an installed program by a Python 3.12 of this machine, shown in the root. Skips the test without one."""
    prefix = python312()
    begin = 'mkdir -p "$0$1" "$0/proc" && mount --bind "$1" "$0$1" && mount --rbind /proc "$0/proc" && shift && '
    begin += 'exec chroot "$0" "$@"'
    inside = ["unshare", "--mount", "sh", "-c", begin, str(root.path), str(prefix)]
    done = subprocess.run([*inside, f"{prefix}/bin/python3.12", "-IBS", *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_installs_and_makes_its_folders_and_its_group_but_starts_nothing(root: Root, builds: Builds) -> None:
    said = rpm(root, "--install", "--nodeps", str(builds.package("centos-10")))
    assert re.fullmatch(r"Creating group 'rolecall' with GID \d+\.\n", said)
    assert root.says("stat", "-c", "%a %U:%G", *FOLDERS).splitlines() == [
        "755 root:root", "755 root:root", "755 root:root", "2750 root:rolecall",
    ]  # fmt: skip
    assert rpm(root, "--verify", "--nodeps", "rolecall") == ""
    words = told(root)
    assert "restorecon -R /var/lib/rolecall" in words
    (systemctl,) = [line for line in words if line.startswith("systemctl ")]
    assert systemctl.startswith("systemctl --no-reload --quiet preset rolecall-boot.service ")


def test_the_state_folder_gets_its_selinux_types_where_the_operator_has_not_given_others(root: Root) -> None:
    assert root.says("/usr/share/rolecall/selinux/apply") == ""
    listing, importing, *lines, restoring = told(root)
    assert listing.startswith("semanage fcontext --list")
    assert importing == "semanage import -N"
    assert restoring == "restorecon -R /var/lib/rolecall"
    ours = [f"fcontext -a -t {kind} '{pattern}'" for kind, pattern in contexts()]
    assert [line for line in ours if line not in lines] == [line for line in ours if "/releases" in line]
    assert set(lines) < set(ours)


def test_every_unit_is_enabled_as_the_preset_says(root: Root) -> None:
    states = root.units()
    assert states["rolecall-boot.service"] == states["rolecall-refresh.timer"] == "enabled"
    assert set(states.values()) <= {"enabled", "static"}


def test_the_python_of_centos_runs_it(root: Root) -> None:
    root.node()
    root.write("/root/clients.py", CLIENTS.replace("from systemd import daemon", "import os as daemon"))
    services = sorted(SERVICES)
    found = run_python(root, "/root/clients.py", *services).splitlines()
    assert len(found) == len(services) + 1
    assert found[-1].endswith("{'/usr/lib/rolecall'}")
    assert run_python(root, "/usr/bin/rolecall", "--version") == f"rolecall {VERSION}"
    run_python(root, "/usr/bin/rolecall", "boot")
    assert (root.path / "var/lib/rolecall/current/site/index.html").read_text() == "zone a\n"
    assert run_python(root, "/usr/bin/rolecall", "refresh") == ""
    roles = "/usr/share/rolecall/templates"
    document = (root.path / "srv/store/fleet.json").read_text().replace('"role": "site"', '"role": "web"')
    root.write("/root/fleet.json", document)
    plan = run_python(
        root, "/usr/bin/rolecall", "plan", "--fleet", "/root/fleet.json", "--as", "web1", "--templates", roles
    )
    assert "apache/00-base.conf" in plan
    assert rpm(root, "--verify", "--nodeps", "rolecall") == ""


def test_a_file_that_somebody_changed_is_found(root: Root) -> None:
    launcher = root.path / "usr/bin/rolecall"
    text = launcher.read_text()
    launcher.write_text(text + "# changed\n")
    assert rpm(root, "--verify", "--nodeps", "rolecall", ok=False).split()[-1] == "/usr/bin/rolecall"
    launcher.write_text(text)


@pytest.mark.long
def test_an_upgrade_keeps_what_the_operator_chose_and_restarts_the_timer_alone(root: Root, builds: Builds) -> None:
    root.run("systemctl", "disable", "rolecall-refresh.timer")
    told(root)
    every = ("find", "/var/lib/rolecall", "/run/rolecall", "/etc/rolecall", "-printf", "%p %m %u:%g %T@ %i\n")
    state = root.says(*every)
    assert rpm(root, "--upgrade", "--nodeps", str(builds.package("centos-10", "newer"))) == ""
    words = [line for line in told(root) if line.startswith("systemctl")]
    assert words == ["systemctl daemon-reload", "systemctl try-restart rolecall-refresh.timer"]
    assert root.says(*every) == state
    units = root.units()
    assert (units["rolecall-boot.service"], units["rolecall-refresh.timer"]) == ("enabled", "disabled")
    assert rpm(root, "--query", "rolecall").startswith(f"rolecall-{NEXT}-1.el10")
    root.run("systemctl", "enable", "rolecall-refresh.timer")


def test_a_removal_leaves_settings_and_state_and_nothing_else(root: Root) -> None:
    told(root)
    said = rpm(root, "--erase", "--nodeps", "rolecall")
    assert said == "rolecall leaves /etc/rolecall, /var/lib/rolecall with the products' data, and the group rolecall.\n"
    assert stays(root) == ["/etc/rolecall", "/run/rolecall", "/var/lib/rolecall"]
    assert (root.path / "etc/rolecall/agent.toml").exists()
    words = told(root)
    stopped = [line for line in words if " stop " in line or "--now" in line]
    assert stopped == ["systemctl stop rolecall-refresh.timer rolecall-refresh.service"]


@pytest.mark.long
def test_where_systemd_has_its_helper_for_packages_it_is_told_the_same(root: Root, builds: Builds) -> None:
    helper = root.path / "usr/lib/systemd/systemd-update-helper"
    helper.write_text(LOGGING.format(then=""))
    helper.chmod(0o755)
    told(root)
    rpm(root, "--install", "--nodeps", str(builds.package("centos-10")))
    rpm(root, "--upgrade", "--nodeps", str(builds.package("centos-10", "newer")))
    rpm(root, "--erase", "--nodeps", "rolecall")
    ours = "systemd-update-helper "
    words = [line.removeprefix(ours) for line in told(root) if line.startswith(ours)]
    assert words[0].startswith("install-system-units rolecall-boot.service ")
    assert words[1:] == [
        "mark-restart-system-units rolecall-refresh.timer",
        "remove-system-units rolecall-refresh.timer rolecall-refresh.service",
    ]


def test_that_for_centos_9_installs_and_its_python_runs_it(root: Root, builds: Builds) -> None:
    assert rpm(root, "--install", "--nodeps", str(builds.package("centos-9"))) == ""
    assert rpm(root, "--verify", "--nodeps", "rolecall") == ""
    assert rpm(root, "--query", "rolecall").startswith(f"rolecall-{VERSION}-1.el9")
    assert not (root.path / "usr/lib/rolecall/site/systemd").is_symlink()
    assert run_python(root, "/usr/bin/rolecall", "--version") == f"rolecall {VERSION}"


@pytest.mark.parametrize(("platform", "python"), [("centos-9", "python3.12"), ("centos-10", "python3")])
def test_dnf_installs_what_it_needs_and_says_what_is_missing(
    builds: Builds, tmp_path: Path, platform: str, python: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("not run: only root can install packages into a folder")
    for tool in ("dnf", "createrepo_c"):
        if not shutil.which(tool):
            pytest.skip(f"not run: {tool} is not installed")
    package = builds.package(platform)
    (tmp_path / "repo").mkdir()
    shutil.copy(package, tmp_path / "repo")
    for name, provides in STUBS.items():
        stub(tmp_path, name, provides)

    def installed() -> tuple[int, str]:
        subprocess.run(["createrepo_c", "-q", tmp_path / "repo"], check=True)
        conf = {
            "gpgcheck": "0",
            "reposdir": "/nonexistent",
            "tsflags": "noscripts",
            "best": "1",
            "metadata_expire": "1",
        }
        conf |= {f"{name}dir": str(tmp_path / name) for name in ("cache", "log", "persist")}
        text = "[main]\n" + "".join(f"{key}={value}\n" for key, value in conf.items())
        (tmp_path / "dnf.conf").write_text(f"{text}[repo]\nname=repo\nbaseurl=file://{tmp_path}/repo\n")
        argv = ["dnf", "-q", "-y", "--setopt=install_weak_deps=False", "-c", f"{tmp_path}/dnf.conf", "--releasever=10"]
        argv += [f"--installroot={tmp_path}/root", "install", "rolecall"]
        done = subprocess.run(argv, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code, said = installed()
    assert code == 0, said
    assert (tmp_path / "root/usr/bin/rolecall").exists()
    query = ["rpm", "--root", f"{tmp_path}/root", "-qa", "--qf", r"%{NAME}\n"]
    names = subprocess.run(query, capture_output=True, text=True)
    without = {"python3.12"} if python == "python3" else {"python3", "python3-systemd"}
    assert set(names.stdout.split()) == {"rolecall", *STUBS} - without

    shutil.rmtree(tmp_path / "root")
    for path in (tmp_path / "repo").glob(f"{python}-1*.rpm"):
        path.unlink()
    code, said = installed()
    assert (code, "nothing provides" in said) == (1, True), said


def stub(folder: Path, name: str, provides: list[str]) -> None:
    """An empty package of this name."""
    lines = [f"Name: {name}", "Version: 1", "Release: 1", "Summary: stub", "License: none", "BuildArch: noarch"]
    lines += [f"Provides: {one}" for one in provides] + ["%description", "%files"]
    (folder / "stub.spec").write_text("\n".join(lines) + "\n")
    define = [
        f"--define=_topdir {folder}/top",
        f"--define=_rpmdir {folder}/repo",
        "--define=_rpmfilename %%{NAME}-%%{VERSION}.rpm",
    ]
    done = subprocess.run(["rpmbuild", "-bb", "--quiet", *define, folder / "stub.spec"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
