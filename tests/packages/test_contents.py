"""What is in the packages, to the file; and that two builds give the same bytes."""

import base64
import csv
import gzip
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from builds import EPOCH, PYTHON, REPO, VERSION, Builds, digest
from rolecall.settings import load_settings

PLATFORMS = ("debian-12", "centos-9", "centos-10")
SITE = "usr/lib/rolecall/site"
SERVICES = set("autoscaling cloudformation elbv2 route53 s3 secretsmanager ssm sts signin sso sso-oidc".split())
EXECUTABLE = {"debian-12": "/usr/bin/python3", "centos-9": "/usr/bin/python3.12", "centos-10": "/usr/bin/python3"}
SYSTEMD = {
    "debian-12": "../../python3/dist-packages/systemd",
    "centos-10": "../../../lib64/python3.12/site-packages/systemd",
}

every_platform = pytest.mark.parametrize("platform", PLATFORMS)


def names_below(folder: Path) -> set[str]:
    """Every file and link."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def records(site: Path) -> dict[str, str]:
    """File → digest of all that was installed, by the records of the installations."""
    found = {}
    for record in site.glob("*.dist-info/RECORD"):
        with record.open(newline="") as rows:
            found.update({name: digest for name, digest, _ in csv.reader(rows)})
    return found


def has_bytecode(root: Path) -> bool:
    """Whether a Python of the platform's version was there to compile."""
    return "\nbytecode: compiled by Python" in (root / "usr/share/doc/rolecall/manifest.txt").read_text()


def bytecode_of(source: str, platform: str) -> str:
    tag = PYTHON[platform].replace(".", "")
    folder, _, name = source.rpartition("/")
    return f"{folder}/__pycache__/".lstrip("/") + name.removesuffix(".py") + f".cpython-{tag}.pyc"


@every_platform
def test_a_package_holds_exactly_these_files(builds: Builds, platform: str) -> None:
    root = builds.unpacked(platform)
    units = {path.name for path in (REPO / "packaging/systemd").iterdir()}
    roles = {path.relative_to(REPO).as_posix() for path in (REPO / "templates").rglob("*") if path.is_file()}
    zsh = "vendor-completions" if platform == "debian-12" else "site-functions"
    expected = {
        "usr/bin/rolecall",
        *(f"usr/lib/systemd/system/{name}" for name in units),
        "usr/lib/systemd/system-preset/80-rolecall.preset",
        "usr/lib/sysusers.d/rolecall.conf",
        "usr/lib/tmpfiles.d/rolecall.conf",
        *(f"usr/share/rolecall/{name}" for name in roles),
        "usr/share/rolecall/selinux/apply",
        "usr/share/rolecall/selinux/file_contexts",
        "usr/share/man/man8/rolecall.8.gz",
        "usr/share/bash-completion/completions/rolecall",
        f"usr/share/zsh/{zsh}/_rolecall",
        *(
            f"usr/share/doc/rolecall/{name}"
            for name in "CHANGELOG.md LICENSE README.md agent.toml manifest.txt".split()
        ),
    }
    site = set(records(root / SITE))
    if has_bytecode(root):
        site |= {bytecode_of(name, platform) for name in site if name.endswith(".py")}
    if platform in SYSTEMD:
        site.add("systemd")
    assert names_below(root) == expected | {f"{SITE}/{name}" for name in site}

    agent = {path.relative_to(REPO / "agent").as_posix() for path in (REPO / "agent/rolecall").rglob("*.py")}
    assert {name for name in site if re.match(r"rolecall/.*\.py$", name)} == agent


@every_platform
def test_everything_belongs_to_root_and_two_files_can_be_run(builds: Builds, platform: str) -> None:
    package, root = builds.package(platform), builds.unpacked(platform)
    modes = {stat.filemode(path.lstat().st_mode) for path in root.rglob("*")}
    assert modes <= {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"}
    runnable = {path for path in root.rglob("*") if path.is_file() and path.stat().st_mode & 0o111}
    assert runnable == {root / "usr/bin/rolecall", root / "usr/share/rolecall/selinux/apply"}
    if platform == "debian-12":
        listed = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout
        owners = {line.split()[1] for line in listed.splitlines()}
    else:
        query = ["rpm", "-qp", "--qf", r"[%{FILEUSERNAME}/%{FILEGROUPNAME}\n]", str(package)]
        owners = set(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split())
    assert owners == {"root/root"}


@every_platform
def test_the_dependencies_are_those_of_the_lock_and_have_their_licences(builds: Builds, platform: str) -> None:
    root = builds.unpacked(platform)
    locked = re.findall(r"^([a-z0-9-]+)==(\S+)", (REPO / "requirements/agent.txt").read_text(), re.MULTILINE)
    expected = {name: version for name, version in locked if name != "systemd-python"} | {"rolecall": VERSION}
    packed = {}
    licences = re.compile(r"(licen[cs]e|copying|notice)[^/]*$", re.IGNORECASE)
    without = {"rolecall"}
    for about in sorted((root / SITE).glob("*.dist-info")):
        name, _, version = about.name.removesuffix(".dist-info").partition("-")
        packed[name.lower().replace("_", "-")] = version
        if any(licences.match(path.name) for path in about.rglob("*")):
            without.discard(name)
        else:
            without.add(name)
    assert packed == expected
    assert without == set(), "no text of a licence"
    told = (root / "usr/share/doc/rolecall/manifest.txt").read_text().splitlines()
    assert told[0].startswith(f"rolecall {VERSION} for {platform} on ")
    listed = {line.split()[0].lower().replace("_", "-"): line.split(maxsplit=2)[1:] for line in told[3:]}
    assert {name: columns[0] for name, columns in listed.items()} == packed
    assert [name for name, columns in listed.items() if len(columns) != 2] == [], "without a licence in the manifest"


@every_platform
def test_every_file_of_a_dependency_is_the_one_that_its_record_names(builds: Builds, platform: str) -> None:
    site = builds.unpacked(platform) / SITE
    wrong = []
    for name, told in records(site).items():
        if told:
            kind, _, value = told.partition("=")
            found = base64.urlsafe_b64encode(hashlib.new(kind, (site / name).read_bytes()).digest())
            wrong += [] if found.rstrip(b"=").decode() == value else [name]
    assert wrong == []


@every_platform
def test_of_the_data_of_aws_only_the_services_are_kept_that_the_agent_asks(builds: Builds, platform: str) -> None:
    data = builds.unpacked(platform) / SITE / "botocore/data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == SERVICES
    files = {path.name for path in data.iterdir() if path.is_file()}
    assert files == {"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}
    asked = set(re.findall(r"\.client\(\"(\w+)\"", "".join(p.read_text() for p in (REPO / "agent").rglob("*.py"))))
    assert asked <= SERVICES


@every_platform
def test_bytecode_is_never_compared_with_its_source_and_names_it_where_it_lies(builds: Builds, platform: str) -> None:
    root = builds.unpacked(platform)
    if not has_bytecode(root):
        pytest.skip(f"not run: this machine has no Python {PYTHON[platform]}, the package was built without bytecode")
    magic = {"3.11": 3495, "3.12": 3531}[PYTHON[platform]]
    for path in root.rglob("*.pyc"):
        head = path.read_bytes()[:8]
        assert (int.from_bytes(head[:2], "little"), head[4]) == (magic, 0b01), path
    assert (
        b"/usr/lib/rolecall/site/rolecall/run.py"
        in next((root / SITE).rglob("rolecall/__pycache__/run.*")).read_bytes()
    )


@every_platform
def test_no_file_names_the_folder_that_it_was_built_in(builds: Builds, platform: str) -> None:
    folder = os.fsencode(builds.folder)
    root = builds.unpacked(platform)
    assert [path for path in root.rglob("*") if path.is_file() and folder in path.read_bytes()] == []
    assert {int(path.stat().st_mtime) for path in root.rglob("*") if path.is_file()} == {EPOCH}


# That of CentOS 9 is made as that of CentOS 10.
@pytest.mark.parametrize("platform", ["debian-12", pytest.param("centos-10", marks=pytest.mark.long)])
def test_two_builds_in_different_folders_give_the_same_bytes(builds: Builds, platform: str) -> None:
    first, second = builds.package(platform), builds.package(platform, "second-and-longer")
    assert first.name == second.name
    assert digest(first) == digest(second)


@every_platform
def test_the_launcher_lets_nothing_of_the_system_in_but_systemd(builds: Builds, platform: str) -> None:
    root = builds.unpacked(platform)
    assert (root / "usr/bin/rolecall").read_text().splitlines()[0] == f"#!{EXECUTABLE[platform]} -IBS"
    link = root / SITE / "systemd"
    assert (os.readlink(link) if link.is_symlink() else None) == SYSTEMD.get(platform)


@every_platform
def test_the_preset_enables_every_unit_that_can_be_enabled(builds: Builds, platform: str) -> None:
    units = REPO / "packaging/systemd"
    wanted = sorted(path.name for path in units.iterdir() if "\n[Install]\n" in path.read_text())
    assert {"rolecall-boot.service", "rolecall-refresh.timer"} <= set(wanted)
    preset = builds.unpacked(platform) / "usr/lib/systemd/system-preset/80-rolecall.preset"
    assert sorted(preset.read_text().splitlines()) == [f"enable {name}" for name in wanted]


def test_a_package_says_what_it_needs(builds: Builds) -> None:
    def asked(*argv: str | Path) -> set[str]:
        return set(re.split(r", |\n", subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()))

    common = {"ca-certificates", "systemd"}
    assert asked("dpkg-deb", "-f", builds.package("debian-12"), "Depends") == {
        *common, "openssh-client", "python3 (>= 3.11)", "python3 (<< 3.12)", "python3-systemd",
    }  # fmt: skip
    for platform, more in (
        ("centos-9", {"/usr/bin/python3.12"}),
        ("centos-10", {"/usr/bin/python3", "python3-systemd"}),
    ):
        needs = asked("rpm", "-qp", "--requires", builds.package(platform))
        own = {name for name in needs if not name.startswith("rpmlib(")}
        assert own == {*common, *more, "openssh-clients", "python(abi) = 3.12", "util-linux", "/bin/sh"}
        assert asked("rpm", "-qp", "--recommends", builds.package(platform)) == {"policycoreutils-python-utils"}


@every_platform
def test_the_man_page_and_the_example_settings_are_good(builds: Builds, platform: str) -> None:
    root = builds.unpacked(platform)
    page = gzip.decompress((root / "usr/share/man/man8/rolecall.8.gz").read_bytes())
    assert page == (REPO / "packaging/rolecall.8").read_bytes()
    settings = load_settings(root / "usr/share/doc/rolecall/agent.toml")
    assert settings.trust.signers == "/etc/rolecall/allowed_signers"
    role = tomllib.loads((root / "usr/share/rolecall/templates" / settings.role / "role.toml").read_text())
    assert settings.platform in role["platform"]


def contexts() -> list[tuple[str, str]]:
    """Type and pattern of each line."""
    text = (REPO / "packaging/selinux/file_contexts").read_text()
    told = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"fcontext -a -t (\w+_t) '([^']+)'", line) for line in told]
    return [(one[1], one[2]) for one in found if one] if all(found) else pytest.fail(f"not all are fcontexts: {told}")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("current", "etc_t"),
        ("generations", "etc_t"),
        ("generations/abc/mysql/server.cnf", "mysqld_etc_t"),
        ("generations/.stage-abc/apache/50-blog.conf", "httpd_sys_content_t"),
        ("generations/abc/cron/rolecall", "system_cron_spool_t"),
        ("generations/abc/generation.json", None),
        ("releases/blog/abc/public/index.php", "httpd_sys_content_t"),
        ("shared/blog/uploads/cat.jpg", "httpd_sys_rw_content_t"),
        ("private/blog", "httpd_sys_rw_content_t"),
        ("fleet/verified.json", None),
        ("reports/x.json", None),
        ("secrets.json", None),
    ],
)
def test_a_path_of_the_state_folder_has_one_selinux_type_or_that_of_the_policy(path: str, expected: str | None) -> None:
    types = [kind for kind, pattern in contexts() if re.fullmatch(pattern, f"/var/lib/rolecall/{path}")]
    assert types == ([expected] if expected else [])


def test_every_folder_of_a_generation_has_a_selinux_type() -> None:
    known = REPO / "tests/roles/web/several/expected/centos"
    files = [path.relative_to(known).as_posix() for path in known.rglob("*") if path.is_file()]
    inner = [name for name in files if "/" in name]
    assert len(inner) > 5
    patterns = [pattern for _, pattern in contexts()]
    without = [n for n in inner if not any(re.fullmatch(p, f"/var/lib/rolecall/generations/abc/{n}") for p in patterns)]
    assert without == []


def test_rpmlint_finds_nothing(builds: Builds) -> None:
    if not shutil.which("rpmlint"):
        pytest.skip("not run: rpmlint is not installed")
    packages = [builds.package(platform) for platform in ("centos-9", "centos-10")]
    config = str(REPO / "packaging/rpm/rpmlint.toml")
    argv = ["rpmlint", "--strict", "--config", config, *map(str, packages)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors, 0 warnings" in done.stdout


def test_a_build_says_what_it_cannot_do(tmp_path: Path) -> None:
    def told(*argv: str, **env: str) -> str:
        done = subprocess.run(
            [REPO / "packaging/build", *argv], capture_output=True, text=True, env={**os.environ, **env}
        )
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    assert told() == "build: for which platform? debian-12, centos-9 or centos-10\n"
    assert told("debian-11") == "build: for which platform? debian-12, centos-9 or centos-10\n"
    assert told("--verbose") == "build: unknown: --verbose\n"
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname", "realpath"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    assert told("debian-12", PATH=str(tmp_path / "bin")) == "build: dpkg-deb is not on this machine\n"


def test_the_time_of_a_build_is_that_of_the_sources(tmp_path: Path) -> None:
    """Of the last commit; without git that of the last release, else of the newest file."""
    script = (REPO / "packaging/build").read_text().partition('\nmain "$@"\n')[0]
    (tmp_path / "packaging").mkdir()
    (tmp_path / "packaging/build").write_text(f"{script}\nsource_date\n")
    for name in ("agent", "requirements", "templates"):
        (tmp_path / name).mkdir()
    (tmp_path / "agent/a.py").touch()

    def date() -> int:
        argv = ["bash", f"{tmp_path}/packaging/build"]
        return int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)

    for path in tmp_path.rglob("*"):
        os.utime(path, (EPOCH, EPOCH))
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")
    assert date() == EPOCH
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n## [0.1.0] - 2026-11-21\n")
    assert date() == 1796083200
    if shutil.which("git"):
        env = {**os.environ, "GIT_COMMITTER_DATE": f"@{EPOCH + 7} +0000", "GIT_CONFIG_GLOBAL": "/dev/null"}
        git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run([*git, "init", "-q"], check=True, env=env)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True, env=env)
        assert date() == EPOCH + 7
