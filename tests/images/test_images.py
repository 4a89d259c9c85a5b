"""Image builds: the catalogue of what is in each image, and images of every role that are really made.

`make accept` rewrites the catalogues in `expected/`: what a build would do, on each platform. CentOS cannot be built on
this machine; its catalogue, shellcheck and Packer's own validation are what is tested of it.
"""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from baked import SETTINGS, Images, given, make_deb
from box import ROOT
from rolecall.fleet.assignment import Assignment
from rolecall.forms.system_accounts import why_reserved
from rolecall.host.roles import read_role
from rolecall.render.rendering import render
from rolecall.render.settings import RenderSettings

BUILD = ROOT / "image-build"
EXPECTED = Path(__file__).parent / "expected"
ROLES = sorted(path.stem for path in (BUILD / "roles").glob("*.sh"))
KINDS = [*((role, platform) for role in ROLES for platform in ("centos", "debian")), ("database", "centos-mysql")]
BAKED = [role for role in ROLES if role != "baseline"]
# A short run makes those of the machines that it boots.
every_image = pytest.mark.parametrize(
    "role", [pytest.param(role, marks=() if role in ("web", "database") else pytest.mark.long) for role in BAKED]
)
OF_A_ROLE = [kind for kind in KINDS if kind[0] in BAKED]
ASKED = {
    "database": ["mariadbd", "--help"],
    "memcached": ["memcached", "--version"],
    "monitor": ["perl", "-MMunin::Master::Config", "-e", "1"],
    "web": ["apache2ctl", "-t"],
}


def build(*words: str | Path, ok: int = 0, cwd: Path | None = None) -> str:
    """What image-build/build says."""
    done = subprocess.run([BUILD / "build", *words], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)  # fmt: skip
    assert done.returncode == ok, done.stdout
    return done.stdout


# The scripts


def test_the_scripts_pass_shellcheck() -> None:
    scripts = [
        "build",
        "bake",
        "lib.sh",
        "inputs.sh",
        "progress.sh",
        "base.sh",
        "disk.sh",
        *(f"roles/{role}.sh" for role in ROLES),
    ]
    done = subprocess.run(["shellcheck", *scripts], cwd=BUILD, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout


@functools.cache
def catalogue(role: str, platform: str) -> str:
    """What a build would do."""
    return build(role, "--platform", platform, "--dry-run")


@pytest.mark.parametrize(("role", "platform"), KINDS)
def test_a_dry_run_spells_out_what_its_golden_text_says(role: str, platform: str) -> None:
    path = EXPECTED / f"{role}-{platform}.txt"
    if os.environ.get("ROLECALL_ACCEPT"):
        path.write_text(catalogue(role, platform))
    assert catalogue(role, platform) == path.read_text(), "`make accept` rewrites it; read the diff"


def test_no_golden_text_is_of_a_role_that_is_gone() -> None:
    assert {path.name for path in EXPECTED.iterdir()} == {f"{role}-{platform}.txt" for role, platform in KINDS}


def said(word: str, text: str) -> set[str]:
    """What the lines of a catalogue that begin with this word are about."""
    return set(re.findall(rf"^  {word} +(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize(("role", "platform"), OF_A_ROLE)
def test_the_catalogue_installs_what_the_role_says_that_it_needs(role: str, platform: str) -> None:
    needed = set(read_role(ROOT / "templates", role).table.packages[platform])
    base, own = catalogue(role, platform).split(f"\n{role}: ")
    assert said("install", own) <= needed <= said("install", base) | said("install", own)


@pytest.mark.parametrize(("role", "platform"), OF_A_ROLE)
def test_the_catalogue_enables_every_unit_of_the_role(role: str, platform: str) -> None:
    nobody = Assignment("image", "image", role, "none", "127.0.0.1", ())
    wanted = {
        unit.service for unit in render(read_role(ROOT / "templates", role), nobody, RenderSettings(platform)).units
    }
    assert wanted <= said("enable", catalogue(role, platform))


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("", 2, "image-build/build ROLE --platform"),
        ("web", 2, "--dry-run"),
        ("wbe --platform debian --dry-run", 1, "which role? baseline database memcached monitor web"),
        ("web --platform suse --dry-run", 1, "--platform centos or debian: set, never guessed"),
        ("web --platform debian --packer kit", 1, "--settings FILE"),
        ("web --platform debian --packer kit --settings agent.toml", 1, "--package FILE"),
        ("web --platform debian --packer kit --settings none.toml --package a.deb", 1, "there is no file"),
        ("web --platform debian --packer kit --settings role.toml --package a.deb", 1, "take role and platform out"),
        ("web --platform debian --packer . --settings agent.toml --package a.deb", 1, "is there already"),
        ("web database --platform debian --dry-run", 1, "one role at a time"),
        ("web --platform debian --ouput x", 1, "unknown: --ouput"),
    ],
)
def test_a_wrong_command_line_is_answered(tmp_path: Path, words: str, code: int, told: str) -> None:
    (tmp_path / "agent.toml").write_text(SETTINGS)
    (tmp_path / "role.toml").write_text(f'role = "web"\n{SETTINGS}')
    (tmp_path / "a.deb").write_text("")
    assert told in build(*words.split(), ok=code, cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.deb", "agent.toml", "role.toml"]


# Packer


def kit(folder: Path, role: str = "web", platform: str = "centos", *more: str) -> str:
    """Make a kit in `folder`/kit; returns what was said."""
    (folder / "agent.toml").write_text(SETTINGS)
    for name in ("rolecall-0.1.0-1.el10.x86_64.rpm", "rolecall-0.1.0-1.el10.aarch64.rpm"):
        (folder / name).write_bytes(b"\xed\xab\xee\xdb")
    make_deb(folder, "rolecall", "all")
    kind = "deb" if platform == "debian" else "rpm"
    packages = [word for path in sorted(folder.glob(f"*.{kind}")) for word in ("--package", str(path))]
    return build(role, "--platform", platform, "--packer", folder / "kit", "--settings", folder / "agent.toml",
                 *given(folder), *packages, *more)  # fmt: skip


def test_a_kit_has_all_that_a_builder_needs_and_the_command_names_it(tmp_path: Path) -> None:
    text = kit(tmp_path, "web", "centos", "--allow-unsigned", "--", "-var", "region=eu-central-1")
    packer = BUILD / "packer"
    assert f"packer init {packer}\npacker build -var allow_unsigned=true -var kit={tmp_path}/kit -var role=web" in text
    assert f"-var platform=centos -var region=eu-central-1 {packer}\n" in text
    packed = {path.relative_to(tmp_path / "kit").as_posix() for path in (tmp_path / "kit").rglob("*") if path.is_file()}
    assert packed == {
        "bake", "lib.sh", "progress.sh", "inputs.sh", "base.sh", "disk.sh", "manifest.py",
        *(f"roles/{role}.sh" for role in ROLES), *(f"packages/{path.name}" for path in tmp_path.glob("*.rpm")),
        "etc/agent.toml", "etc/allowed_signers", "etc/seed.json",
    }  # fmt: skip
    baked = subprocess.run([tmp_path / "kit/bake", "web", "--platform", "centos", "--image", "--dry-run"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert baked.stdout == catalogue("web", "centos"), "the same scripts do the same elsewhere"


def test_the_template_asks_for_the_second_version_of_the_metadata_service_only() -> None:
    text = (BUILD / "packer/rolecall.pkr.hcl").read_text()
    assert re.search(r'metadata_options \{[^}]*http_tokens += "required"', text)
    assert re.search(r'imds_support += "v2.0"', text)


@pytest.mark.skipif(not shutil.which("packer"), reason="not run: packer is not installed")
@pytest.mark.parametrize("platform", ["centos", "centos-mysql", "debian"])
def test_the_template_is_valid(tmp_path: Path, platform: str) -> None:
    kit(tmp_path, "memcached", platform)
    run = functools.partial(subprocess.run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env={**os.environ, "CHECKPOINT_DISABLE": "1", "HOME": str(tmp_path)})  # fmt: skip
    assert run(["packer", "fmt", "-check", "-diff", BUILD / "packer"]).returncode == 0
    template = tmp_path / "template"
    template.mkdir()
    text = (BUILD / "packer/rolecall.pkr.hcl").read_text()
    if re.search(r"v1\.[0-6]\.", run(["packer", "version"]).stdout):
        # Debian's packer is older than these two, and than plugins.pkr.hcl; all the rest it can judge.
        text = re.sub(r"(?ms)^  metadata_options \{.*?^  \}\n|^  imds_support [^\n]*\n", "", text)
    else:
        shutil.copy(BUILD / "packer/plugins.pkr.hcl", template)
        if run(["packer", "init", template]).returncode != 0:
            pytest.skip("not run: Packer's plugin cannot be had here")
    (template / "rolecall.pkr.hcl").write_text(text)
    about = ["-var", f"kit={tmp_path}/kit", "-var", "role=memcached", "-var", "region=eu-central-1"]
    valid = run(["packer", "validate", *about, "-var", f"platform={platform}", template])
    assert valid.returncode == 0, valid.stdout
    wrong = run(["packer", "validate", *about, "-var", "platform=suse", template])
    assert (wrong.returncode, "The platform is centos, centos-mysql or debian." in wrong.stdout) == (1, True)


# Images, made


@every_image
def test_nothing_is_wrong_with_an_image_that_was_made(images: Images, role: str) -> None:
    root = images.root(role)
    done = subprocess.run([sys.executable, "-m", "rolecall", "image", "check", "--root", root],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "✓ nothing is wrong with it\n")
    assert (root / "etc/rolecall/agent.toml").read_text() == f'role = "{role}"\nplatform = "debian"\n{SETTINGS}'
    assert [path for top in ("run", "tmp") for path in (root / top).rglob("*") if not path.is_dir()] == []
    assert not (root / "usr/sbin/policy-rc.d").exists()
    assert not list(root.rglob("libeatmydata*")), "what made the build fast does not stay"


@every_image
def test_no_product_may_have_the_name_of_an_account_or_group_that_the_image_has(images: Images, role: str) -> None:
    names = {line.split(":")[0] for name in ("passwd", "group")
             for line in (images.root(role) / "etc" / name).read_text().splitlines()}  # fmt: skip
    assert [name for name in sorted(names) if re.fullmatch("[a-z0-9_-]+", name) and not why_reserved(name)] == []


@every_image
def test_its_daemons_accept_what_the_image_has(images: Images, role: str) -> None:
    done = subprocess.run(
        ["chroot", images.root(role), *ASKED[role]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout


@every_image
def test_the_manifest_tells_what_it_was_made_of(images: Images, role: str) -> None:
    told = images.told(role)
    about = (told["format"], told["role"], told["platform"], told["system"])
    assert about == (1, role, "debian", "Debian GNU/Linux 12 (bookworm)")
    for name in ("bake", "lib.sh", "base.sh", f"roles/{role}.sh"):
        assert told["scripts"][name] == hashlib.sha256((BUILD / name).read_bytes()).hexdigest()
    packages = {(one["system"], one["name"]): one["version"] for one in told["packages"]}
    assert packages["deb", "rolecall"] == packages["pypi", "rolecall"] == told["agent"]
    wanted = {("deb", name) for name in said("install", catalogue(role, "debian"))}
    assert wanted <= packages.keys()
    in_image = subprocess.check_output(
        ["chroot", images.root(role), "dpkg-query", "-W", "-f", "${Package} ${Version}\n"], text=True
    )
    assert dict(line.split() for line in in_image.splitlines()) == {
        name: version for (system, name), version in packages.items() if system == "deb"
    }
    pins = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements/agent.txt").read_text(), re.MULTILINE)
    shipped = {
        name.lower().replace("_", "-"): version for (system, name), version in packages.items() if system == "pypi"
    }
    assert shipped.items() <= {*pins, ("rolecall", told["agent"])}


@every_image
def test_the_bill_of_materials_is_cyclonedx(images: Images, role: str) -> None:
    told = images.told(role)
    bill = images.told(role, "sbom.cdx.json")
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
    components = bill["components"]
    assert len(components) == len(told["packages"]) == len({one["bom-ref"] for one in components})
    deb = r"pkg:deb/debian/[A-Za-z0-9%.-]+@[A-Za-z0-9%.~-]+\?arch=(amd64|arm64|all)&distro=debian-12"
    purls = [one["purl"] for one in components]
    assert [purl for purl in purls if not re.fullmatch(rf"{deb}|pkg:pypi/[a-z0-9-]+@[\w.]+", purl)] == []
    assert any(purl.startswith("pkg:pypi/pydantic-core@") for purl in purls)
    assert {one["type"] for one in components} == {"application", "library"}
    assert bill["dependencies"][0]["dependsOn"] == [one["bom-ref"] for one in components]


@pytest.mark.long
def test_the_same_image_has_the_same_manifest(images: Images, tmp_path: Path) -> None:
    root, made = images.root("memcached"), tmp_path / "made"
    made.mkdir()
    told = images.told("memcached")
    debs = [one for one in told["packages"] if one["system"] == "deb"]
    rows = [f"{one['name']}\t{one['version']}\t{one['architecture']}\n" for one in reversed(debs)]
    (tmp_path / "packages").write_text("".join(rows))
    (tmp_path / "python").write_text("".join(f"{path}\n" for path in root.rglob("*.dist-info/METADATA")))
    scripts = tmp_path / "kit"
    shutil.copytree(BUILD, scripts)
    subprocess.run([sys.executable, BUILD / "manifest.py", "--role", "memcached", "--platform", "debian",
                    "--agent", f"rolecall {told['agent']}", "--kit", scripts, "--packages", tmp_path / "packages",
                    "--python", tmp_path / "python", "--to", made, "--root", root], check=True)  # fmt: skip
    again = json.loads((made / "manifest.json").read_text())
    results = sum(path.stat().st_size for path in (root / "usr/share/rolecall/image").iterdir())
    assert {**again, "size": again["size"] - results} == told


@pytest.mark.long
def test_memcached_is_the_smallest_image(images: Images, capsys: pytest.CaptureFixture[str]) -> None:
    told = {role: images.told(role) for role in BAKED}
    with capsys.disabled():
        sizes = (f"{role} {one['size'] / 1e6:.0f} MB, {len(one['packages'])} packages" for role, one in told.items())
        print(f"\nimages: {'; '.join(sizes)}")
    own = said("install", catalogue("memcached", "debian").split("\nmemcached: ")[1])
    assert own == {"memcached"}, "and barely anything else"
    assert told["memcached"]["size"] < 0.8 * told["web"]["size"]
