"""`rolecall image check`: what an image must not have, and what it lacks, is found and named, and its remedy helps."""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from box import document
from cli.test_commands import rolecall
from rolecall.errors import HostFault
from rolecall.image import check, traces
from rolecall.image.root import Finding
from signed import Keys, envelope, from_now, stamp

CONFIG = Path("/etc/rolecall/agent.toml")
ROLE = {
    "role.toml": """description = "A daemon with one file, one attachment, one validator and one unit"
[packages]
debian = ["memcached"]
[platform.debian]
conf = "/etc/memcached.conf"
[[file]]
source = "memcached.conf.j2"
path = "memcached/memcached.conf"
units = ["memcached"]
[[attachment]]
path = "{{ names.conf }}"
link = "memcached/memcached.conf"
[[validator]]
name = "memcached"
argv = ["memcached", "--version"]
[[unit]]
name = "memcached"
service = "memcached.service"
action = "restart"
""",
    "memcached.conf.j2": "-l {{ assignment.address | word }}\n",
}
SETTINGS = """role = "memcached"
platform = "debian"
identity = ["ec2", "file:/etc/rolecall/identity.json"]
store = ["s3://test-fleet/prod"]
[trust]
signers = "/etc/rolecall/allowed_signers"
fleet = "test"
[paths]
seed = "/etc/rolecall/seed.json"
"""
UNITS = {"rolecall-boot.service": "multi-user.target", "rolecall-ready.target": "multi-user.target",
         "rolecall-drain.service": "multi-user.target", "rolecall-refresh.timer": "timers.target",
         "memcached.service": "multi-user.target"}  # fmt: skip
DROP_IN = "etc/systemd/system/memcached.service.d/rolecall.conf"
ORDER = """# Laid by `rolecall image attach`.
[Unit]
After=rolecall-boot.service
Before=rolecall-drain.service
ConditionPathExists=/var/lib/rolecall/current/memcached
"""
YESTERDAY = stamp(from_now(days=-1))
BOOT, TIMERS = "etc/systemd/system/multi-user.target.wants", "etc/systemd/system/timers.target.wants"
SIGNED, TEMPLATES = 'signers = "/etc/rolecall/allowed_signers"', "usr/share/rolecall/templates/memcached"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


@functools.cache
def good_seed(keys: Keys) -> str:
    """A signed document of the fleet."""
    return keys.seal("ops", json.dumps(document(fleet="test")).encode()).decode()


class Root:
    """The root folder of an image that nothing is wrong with, until a test does something to it."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder, self.keys = folder, keys
        self.write("etc/rolecall/agent.toml", SETTINGS)
        self.write("etc/rolecall/allowed_signers", keys.line("ops") + "\n")
        self.write("etc/rolecall/seed.json", good_seed(keys))
        for name, text in ROLE.items():
            self.write(f"usr/share/rolecall/templates/memcached/{name}", text)
        for name in ("rolecall", "memcached", "ssh-keygen", "systemd-sysusers"):
            self.write(f"usr/bin/{name}", "#!/bin/sh\n")
        for unit, target in UNITS.items():
            self.write(f"usr/lib/systemd/system/{unit}", f"[Unit]\n[Install]\nWantedBy={target}\n")
            # As systemctl writes it: a link to where the unit lies on the image's machines, not on this one.
            self.link(f"etc/systemd/system/{target}.wants/{unit}", f"/usr/lib/systemd/system/{unit}")
        self.link("etc/memcached.conf", "/var/lib/rolecall/current/memcached/memcached.conf")
        self.write(DROP_IN, ORDER)
        self.write("etc/machine-id", "")
        self.write("etc/shadow", "root:*:20000:0:99999:7:::\nchrony:!:20000::::::\n")
        self.write("var/log/wtmp", "")
        self.link("var/log/README", "../../usr/share/doc/systemd/README.logs")
        for empty in ("tmp", "run/lock", "var/lib/rolecall/reports", "var/tmp", "root", "home/admin/.ssh"):
            self.at(empty).mkdir(parents=True, exist_ok=True)
        self.at("root").chmod(0o700)

    def at(self, path: str) -> Path:
        return self.folder / path

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        file = self.at(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def link(self, path: str, target: str) -> None:
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).symlink_to(target)

    def seed(self, by: str = "ops", **parts: object) -> None:
        """Bake another seed."""
        payload = json.dumps(document(**{"fleet": "test", **parts})).encode()
        self.write("etc/rolecall/seed.json", self.keys.seal(by, payload).decode())

    def settle(self, old: str, new: str) -> None:
        """Change agent.toml."""
        text = self.at("etc/rolecall/agent.toml").read_text()
        assert old in text
        self.write("etc/rolecall/agent.toml", text.replace(old, new))

    def findings(self, **options: bool) -> list[Finding]:
        return check.examine(self.folder, CONFIG, **options)

    def only(self, **options: bool) -> Finding:
        """The one finding that there is."""
        (finding,) = self.findings(**options)
        return finding

    def picture(self) -> dict[str, object]:
        """Everything, with times of change."""
        return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode) for path in self.folder.rglob("*")}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def root(tmp_path: Path, keys: Keys) -> Root:
    before = os.umask(0o022)
    root = Root(tmp_path / "root", keys)
    os.umask(before)
    return root


def test_nothing_is_wrong_with_a_clean_image_and_looking_at_it_changes_nothing(root: Root) -> None:
    before = root.picture()
    assert root.findings() == []
    result = rolecall("image", "check", "--root", str(root.folder))
    assert (result.returncode, result.stdout) == (0, "✓ nothing is wrong with it\n")
    assert root.picture() == before


# What must not be there

TRACES = [
    ("history", "root/.bash_history", "mysql -psecret\n"),
    ("history", "home/admin/.python_history", "1\n"),
    ("history", "home/admin/.local/share/fish/fish_history", "1\n"),
    ("login-keys", "root/.ssh/authorized_keys", "ssh-ed25519 AAAA builder\n"),
    ("login-keys", "home/admin/.ssh/authorized_keys2", "ssh-ed25519 AAAA builder\n"),
    ("login-keys", "home/admin/.ssh/known_hosts", "example.com ssh-ed25519 AAAA\n"),
    ("host-keys", "etc/ssh/ssh_host_ed25519_key", KEY),
    ("machine-id", "etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("machine-id", "var/lib/dbus/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("server-uuid", "var/lib/mysql/auto.cnf", "[auto]\nserver-uuid=1\n"),
    ("cloud-init", "var/lib/cloud/instances/i-0aaa/boot-finished", "1\n"),
    ("cloud-init", "var/lib/cloud/sem/config_scripts_per_once.once", "1\n"),
    ("random-seed", "var/lib/systemd/random-seed", "x" * 512),
    ("random-seed", "var/lib/systemd/credential.secret", "x" * 512),
    ("network", "etc/udev/rules.d/70-persistent-net.rules", "SUBSYSTEM==net\n"),
    ("network", "var/lib/dhcp/dhclient.eth0.leases", "lease {}\n"),
    ("network", "etc/hostname", "builder\n"),
    ("network", "etc/resolv.conf", "nameserver 192.0.2.1\n"),
    ("caches", "var/cache/apt/archives/apache2_2.4_amd64.deb", "x"),
    ("caches", "var/lib/apt/lists/mirror.example.com_dists_bookworm_InRelease", "x"),
    ("caches", "var/cache/dnf/appstream-1/repodata/primary.xml", "x"),
    ("caches", "root/.cache/pip/http/1", "x"),
    ("policy-rc.d", "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n"),
    ("logs", "var/log/dpkg.log", "install\n"),
    ("logs", "var/log/journal/0123/system.journal", "x"),
    ("logs", "var/log/apt/history.log.1.gz", "x"),
    ("temporary", "tmp/setup.sh", "x"),
    ("temporary", "var/tmp/.hidden/file", "x"),
    ("temporary", "run/sshd.pid", "1\n"),
    ("instance-state", "var/lib/rolecall/generations/0123/generation.json", "{}"),
    ("instance-state", "var/lib/rolecall/fleet/verified.json", "{}"),
    ("instance-state", "var/lib/rolecall/fingerprint.key", "x"),
    ("instance-state", "var/lib/rolecall/outbox.json", "{}"),
    ("instance-state", "var/lib/rolecall/secrets.json", "{}"),
    ("instance-state", "var/lib/rolecall/aside/i-0aaa/reports/1.json", "{}"),
]


@pytest.mark.parametrize(("name", "path", "text"), TRACES, ids=[path for _, path, _ in TRACES])
def test_a_trace_is_found_and_taken_away(root: Root, name: str, path: str, text: str) -> None:
    before = root.picture()
    root.write(path, text)
    finding = root.only()
    assert (finding.name, finding.remedy) == (name, f"rolecall image check --root={root.folder} --fix")
    assert any(f"/{path}".startswith(where) for where in finding.paths)
    assert check.mend(root.folder, CONFIG, [finding]) == [finding]
    assert root.findings() == []
    assert before.keys() <= root.picture().keys(), "nothing else went with it"


SECRETS = [
    ("credentials", "root/.aws/credentials", "[default]\n"),
    ("credentials", "home/admin/.aws/sso/cache/1.json", "{}"),
    ("credentials", "home/admin/.netrc", "machine example.com\n"),
    ("credentials", "root/.docker/config.json", "{}"),
    ("credentials", "root/.my.cnf", "[client]\n"),
    ("private-key", "root/.ssh/id_ed25519", KEY),
    ("private-key", "home/admin/fleet.pem", KEY.replace("OPENSSH", "RSA")),
    ("private-key", "etc/ssl/private/site.key", "# the site's\n" + KEY.replace("OPENSSH ", "")),
    ("private-key", "etc/environment", f"AWS_SECRET_ACCESS_KEY={'Ab1/' * 10}\n"),
]


@pytest.mark.parametrize(("name", "path", "text"), SECRETS, ids=[path for _, path, _ in SECRETS])
def test_a_secret_is_found_but_only_a_person_takes_it_away(root: Root, name: str, path: str, text: str) -> None:
    secret = root.write(path, text, 0o600)
    finding = root.only()
    assert (finding.name, finding.fix) == (name, None)
    assert "revoke it" in finding.remedy
    assert check.mend(root.folder, CONFIG, [finding]) == []
    assert secret.exists()
    follow(finding)
    assert root.findings() == []


def follow(finding: Finding) -> None:
    """Do what the remedy says: what stands after its last colon, or all of it."""
    command = finding.remedy.rpartition(": ")[2].rpartition("then ")[2]
    subprocess.run(command, shell=True, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def test_what_is_public_or_code_is_no_secret(root: Root) -> None:
    root.write("etc/ssl/certs/site.pem", "-----BEGIN CERTIFICATE-----\n")
    root.write("usr/local/lib/keys.py", KEY)
    root.write("etc/ssh/ssh_config", "# IdentityFile ~/.ssh/id_rsa\n")
    assert root.findings() == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("root:$y$j9T$a:1::::::", True),
        ("admin::1::::::", True),
        ("admin:!$y$:1::::::", False),
        ("bin:*:1::::::", False),
    ],
)
def test_a_password_is_found(root: Root, line: str, expected: bool) -> None:
    root.write("etc/shadow", f"{line}\n")
    findings = root.findings()
    assert [finding.name for finding in findings] == ["password"] * expected
    if expected:
        name = line.partition(":")[0]
        assert findings[0].remedy == f"usermod --root={root.folder} --lock {name}"


def test_an_identity_of_one_machine_is_found(root: Root) -> None:
    root.write("etc/rolecall/identity.json", '{"tags": {"rolecall:role": "memcached"}}')
    assert root.findings() == [], "that may be said of every machine of the image"
    root.write("etc/rolecall/identity.json", '{"server": "mc1"}')
    finding = root.only()
    assert (finding.name, finding.fix) == ("identity", None)
    follow(finding)
    assert root.findings() == []


def test_credentials_that_agent_toml_names_are_found(root: Root) -> None:
    root.settle("[trust]", '[aws]\ncredentials = "file:/srv/aws"\n[trust]')
    assert root.findings() == []
    root.write("srv/aws", "[default]\n")
    finding = root.only()
    assert (finding.name, finding.paths) == ("credentials", ("/srv/aws",))
    follow(finding)
    assert root.findings() == []


def test_a_state_folder_elsewhere_is_looked_into_and_products_data_is_a_persons_to_remove(root: Root) -> None:
    root.settle("[paths]", '[paths]\nstate = "/srv/rolecall"')
    root.at("etc/memcached.conf").unlink()
    root.link("etc/memcached.conf", "/srv/rolecall/current/memcached/memcached.conf")
    root.write(DROP_IN, ORDER.replace("/var/lib", "/srv"))
    root.write("srv/rolecall/reports/1.json", "{}")
    root.write("srv/rolecall/shared/blog/uploads/photo.jpg", "x")
    reports, data = root.findings()
    assert (reports.paths, data.paths) == (("/srv/rolecall/reports",), ("/srv/rolecall/shared",))
    check.mend(root.folder, CONFIG, [reports, data])
    assert root.only() == data
    follow(data)
    assert root.findings() == []


def test_many_traces_of_a_kind_are_one_finding(root: Root) -> None:
    for kind in ("rsa", "ecdsa", "ed25519"):
        root.write(f"etc/ssh/ssh_host_{kind}_key", KEY)
    finding = root.only()
    assert finding.what.startswith("/etc/ssh/ssh_host_ecdsa_key and 2 more: ")
    assert len(finding.paths) == 3


def test_a_log_keeps_its_owner_and_mode_when_it_is_emptied(root: Root) -> None:
    log = root.write("var/log/btmp", "x", 0o660)
    check.mend(root.folder, CONFIG, root.findings())
    assert (log.read_text(), log.stat().st_mode & 0o777) == ("", 0o660)


def test_a_machine_id_that_waits_for_the_first_boot_is_none(root: Root) -> None:
    root.write("etc/machine-id", "uninitialized\n")
    root.link("var/lib/dbus/machine-id", "/etc/machine-id")
    assert root.findings() == []


def test_no_link_leads_out_of_the_image(root: Root, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "home/.ssh").mkdir(parents=True)
    for name in ("syslog", "home/.bash_history", "home/.ssh/authorized_keys"):
        (outside / name).write_text("of this machine")
    shutil.rmtree(root.at("var/log"))
    root.link("var/log", str(outside))
    root.link("home/guest", str(outside / "home"))
    root.link("tmp/link", str(outside))
    check.mend(root.folder, CONFIG, root.findings())
    assert root.findings() == []
    assert not root.at("tmp/link").is_symlink()
    assert sorted(path.read_text() for path in outside.rglob("*") if path.is_file()) == ["of this machine"] * 3


def test_a_machine_may_have_a_past(root: Root) -> None:
    root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    root.write("root/.bash_history", "ls\n")
    root.write("var/lib/rolecall/fleet/verified.json", "{}")
    assert {finding.name for finding in root.findings()} == {"machine-id", "history", "instance-state"}
    assert root.findings(machine=True) == []
    root.at("usr/bin/memcached").unlink()
    assert root.only(machine=True).name == "program"


# What must be there


def replaced(path: str, text: str) -> Callable[[Root], object]:
    return lambda root: root.write(path, text)


def removed(path: str) -> Callable[[Root], object]:
    return lambda root: root.at(path).unlink()


def settled(old: str, new: str) -> Callable[[Root], object]:
    return lambda root: root.settle(old, new)


def unsigned_seed(root: Root) -> None:
    root.write("etc/rolecall/seed.json", json.dumps(document(fleet="test")))


def forged_seed(root: Root) -> None:
    good = json.loads(root.at("etc/rolecall/seed.json").read_text())
    root.write(
        "etc/rolecall/seed.json",
        envelope(json.dumps(document(fleet="test", serial=9)).encode(), good["signature"]).decode(),
    )


def not_attached(root: Root) -> None:
    root.at("etc/memcached.conf").unlink()
    root.write("etc/memcached.conf", "-m 64\n")


def masked(root: Root) -> None:
    root.link("etc/systemd/system/memcached.service", "/dev/null")


def opened(path: str, mode: int) -> Callable[[Root], object]:
    return lambda root: root.at(path).chmod(mode)


GAPS: list[tuple[str, str, Callable[[Root], object]]] = [
    ("settings", "cannot read the settings", removed("etc/rolecall/agent.toml")),
    ("settings", "rol: unknown key — did you mean 'role'?", settled('role = "', 'rol = "memcached"\nrole = "')),
    ("role", "no role 'cache' in", settled('role = "memcached"', 'role = "cache"')),
    ("role", "has no platform 'suse'", settled('platform = "debian"', 'platform = "suse"')),
    ("unsigned", "whoever can write to the store is root", settled(SIGNED, "unsigned = true")),
    ("signers", "cannot read the keys in", removed("etc/rolecall/allowed_signers")),
    ("signers", "this line has no key of its own", replaced("etc/rolecall/allowed_signers", "ops\n")),
    ("seed", "does not exist", removed("etc/rolecall/seed.json")),
    ("seed", "is not signed", unsigned_seed),
    ("seed", "the signature is refused", forged_seed),
    ("seed", "seed.json: the signature is refused: No principal matched", lambda root: root.seed(by="mallory")),
    ("seed", "is of the fleet 'other', this image is of 'test'", lambda root: root.seed(fleet="other")),
    ("seed", "expired on", lambda root: root.seed(issued=stamp(from_now(days=-9)), not_after=YESTERDAY)),
    ("seed", "servers.mc1.address: missing", lambda root: root.seed(servers={"mc1": {"role": "memcached"}})),
    ("attachment", "/etc/memcached.conf is not a link", removed("etc/memcached.conf")),
    ("attachment", "/etc/memcached.conf is not a link", not_attached),
    ("attachment", f"/{DROP_IN} is missing", removed(DROP_IN)),
    ("attachment", f"/{DROP_IN} has other content", replaced(DROP_IN, "[Unit]\n")),
    ("program", "memcached is not installed: validator memcached", removed("usr/bin/memcached")),
    ("program", "rolecall is not installed", removed("usr/bin/rolecall")),
    ("program", "ssh-keygen is not installed", removed("usr/bin/ssh-keygen")),
    ("program", "systemd-sysusers is not installed", removed("usr/bin/systemd-sysusers")),
    ("unit", "rolecall-boot.service is not enabled", removed(f"{BOOT}/rolecall-boot.service")),
    ("unit", "rolecall-drain.service is not enabled", removed(f"{BOOT}/rolecall-drain.service")),
    ("unit", "rolecall-refresh.timer is not enabled", removed(f"{TIMERS}/rolecall-refresh.timer")),
    ("unit", "memcached.service is not enabled", removed(f"{BOOT}/memcached.service")),
    ("unit", "memcached.service is not installed", removed("usr/lib/systemd/system/memcached.service")),
    ("unit", "memcached.service is masked", masked),
    ("permissions", "/etc/rolecall/agent.toml: users other than root", opened("etc/rolecall/agent.toml", 0o646)),
    ("permissions", "/etc/rolecall: users other than root", opened("etc/rolecall", 0o777)),
    ("permissions", "/usr/share/rolecall/templates/memcached/role.toml", opened(f"{TEMPLATES}/role.toml", 0o664)),
    ("permissions", "/var/lib/rolecall: users other than root", opened("var/lib/rolecall", 0o775)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "words", "undo"), GAPS, ids=[f"{name}-{n}" for n, (name, _, _) in enumerate(GAPS)])
def test_a_gap_is_found_with_its_remedy(root: Root, name: str, words: str, undo: Callable[[Root], object]) -> None:
    undo(root)
    findings = [finding for finding in root.findings() if finding.name == name]
    assert findings, root.findings()
    assert words in findings[0].what
    if name not in ("settings", "role"):
        assert {finding.name for finding in root.findings()} <= {name, "seed"}
    assert findings[0].remedy


def test_what_is_unsigned_on_purpose_is_no_finding(root: Root) -> None:
    root.settle(SIGNED, "unsigned = true")
    assert root.only().name == "unsigned"
    assert root.findings(allow_unsigned=True) == []


def test_all_mistakes_of_agent_toml_are_findings_and_traces_are_found_all_the_same(root: Root) -> None:
    root.settle('role = "memcached"', 'rol = "memcached"\nstor = []')
    root.write("root/.bash_history", "ls\n")
    names = [finding.name for finding in root.findings()]
    assert names.count("settings") == 3
    assert "history" in names


def test_attachments_are_laid_by_fix(root: Root) -> None:
    root.at("etc/memcached.conf").unlink()
    check.mend(root.folder, CONFIG, root.findings())
    assert root.findings() == []
    assert os.readlink(root.at("etc/memcached.conf")) == "/var/lib/rolecall/current/memcached/memcached.conf"


@pytest.mark.skipif(not shutil.which("systemctl"), reason="systemctl is the remedy")
def test_the_remedies_for_units_work(root: Root) -> None:
    masked(root)
    root.at(f"{BOOT}/memcached.service").unlink()
    follow(root.only())
    assert "is not enabled" in root.only().what
    follow(root.only())
    assert root.findings() == []


def test_the_remedy_for_permissions_works(root: Root) -> None:
    root.at("etc/rolecall/agent.toml").chmod(0o666)
    root.at("usr/share/rolecall/templates").chmod(0o777)
    finding = root.only()
    assert finding.paths == ("/etc/rolecall/agent.toml", "/usr/share/rolecall/templates")
    follow(finding)
    assert root.findings() == []


def test_programs_are_found_through_links_as_the_images_machines_would(root: Root) -> None:
    root.at("usr/bin/memcached").unlink()
    root.link("usr/sbin/memcached", "/etc/alternatives/memcached")
    root.link("etc/alternatives/memcached", "/usr/lib/memcached/memcached-1.6")
    assert root.only().name == "program"
    root.write("usr/lib/memcached/memcached-1.6", "")
    assert root.findings() == []


def test_a_baseline_image_has_no_role_but_the_scripts_that_install_one(root: Root) -> None:
    root.settle('role = "memcached"', 'role = "baseline"')
    root.at(f"{BOOT}/memcached.service").unlink()
    root.at("etc/memcached.conf").unlink()
    finding = root.only()
    assert "/usr/share/rolecall/image-build/bake is not installed: installs the role at the first boot" in finding.what
    root.write("usr/share/rolecall/image-build/bake", "#!/bin/sh\n", 0o755)
    assert root.findings() == []
    root.settle("[paths]", f'[paths]\nstate = "{root.folder}/var/lib/rolecall"')
    root.write("var/lib/rolecall/role.json", '{"role": "memcached"}')
    assert {finding.name for finding in root.findings(machine=True)} == {"attachment", "unit"}, (
        "judged as what it has become"
    )


# The command


def test_the_command_tells_all_with_remedies_and_mends_what_is_safe(root: Root) -> None:
    root.write("root/.bash_history", "ls\n")
    root.write("root/.netrc", "machine example.com\n")
    checked = rolecall("image", "check", "--root", str(root.folder))
    assert checked.returncode == 1
    line = "✗ history: /root/.bash_history: what somebody typed, perhaps passwords"
    assert f"{line}\n  remedy: rolecall image check --root={root.folder} --fix\n" in checked.stdout
    mended = rolecall("image", "check", "--root", str(root.folder), "--fix")
    assert mended.returncode == 1, "one is for a person"
    assert "✓ history: mended: /root/.bash_history" in mended.stdout
    assert "✗ credentials: /root/.netrc" in mended.stdout
    root.at("root/.netrc").unlink()
    assert rolecall("image", "check", "--root", str(root.folder)).returncode == 0


def test_the_answer_as_json(root: Root) -> None:
    root.write("root/.bash_history", "ls\n")
    answer = json.loads(rolecall("image", "check", "--root", str(root.folder), "--json").stdout)
    assert answer["mended"] == []
    (finding,) = answer["findings"]
    assert (finding["name"], finding["paths"], finding["fix"]) == ("history", ["/root/.bash_history"], True)
    answer = json.loads(rolecall("image", "check", "--root", str(root.folder), "--json", "--fix").stdout)
    assert (answer["findings"], answer["mended"][0]["name"]) == ([], "history")


def test_settings_elsewhere_in_the_image_are_named_as_the_image_names_them(root: Root) -> None:
    root.at("etc/rolecall/agent.toml").rename(root.at("srv.toml"))
    result = rolecall("image", "check", "--root", str(root.folder), "--config", "/srv.toml")
    assert result.returncode == 0, result.stdout


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    result = rolecall("image", "check", "--root", str(tmp_path / "nowhere"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "there is no folder" in result.stderr


@pytest.mark.skipif(CONFIG.exists(), reason="an image may be baked on this machine")
def test_fix_leaves_a_machine_alone_that_is_no_image(root: Root) -> None:
    with pytest.raises(HostFault, match="no image is being baked here"):
        check.mend(Path("/"), CONFIG, [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_is_not_called_clean(root: Root) -> None:
    root.at("root").chmod(0)
    with pytest.raises(HostFault, match="cannot read all of"):
        root.findings()
    root.at("root").chmod(0o700)


def test_every_trace_says_why_and_has_a_test() -> None:
    tested = {name for name, _, _ in TRACES + SECRETS}
    assert {trace.name for trace in traces.TRACES} <= tested
    assert all(trace.why and trace.places for trace in traces.TRACES)
