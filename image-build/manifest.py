# ruff: noqa: INP001 (a script, in no package)
"""Writes what an image was made of: manifest.json for people and tests, sbom.cdx.json (CycloneDX 1.5) for scanners.

`bake` runs it in the image, with that image's Python and nothing else. No clock and no random number is in it: two
images with the same content have the same manifest.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

SCRIPTS = ("bake", "lib.sh", "base.sh", "disk.sh", "manifest.py")


class Package(NamedTuple):
    """Something installed; `system` is deb, rpm or pypi."""

    system: str
    name: str
    version: str
    architecture: str = ""

    def purl(self, distribution: str, release: str) -> str:
        """Its package URL."""
        if self.system == "pypi":
            return f"pkg:pypi/{_normal(self.name)}@{quote(self.version)}"
        epoch, _, version = self.version.rpartition(":") if self.system == "rpm" else ("", "", self.version)
        also = f"&epoch={epoch}" if epoch else ""
        at = f"pkg:{self.system}/{distribution}/{quote(self.name)}@{quote(version)}"
        return f"{at}?arch={self.architecture}&distro={distribution}-{release}{also}"


def main() -> None:
    """Read what `bake` says is installed, write both files."""
    parser = argparse.ArgumentParser()
    for name in ("role", "platform", "agent"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("kit", "packages", "python", "to", "root"):
        parser.add_argument(f"--{name}", type=Path, required=name != "root", default=Path("/"))
    known = parser.parse_args()
    distribution = os_release(known.root)
    packages = sorted({*system_packages(known.packages, known.platform), *python_packages(known.python)})
    about = {
        "format": 1,
        "role": known.role,
        "platform": known.platform,
        "system": distribution.get("PRETTY_NAME", ""),
        "architecture": platform.machine(),
        "agent": known.agent.split()[-1],
        "size": size(known.root, without=known.to),
        "scripts": digests(known.kit, (*SCRIPTS, f"roles/{known.role}.sh")),
        "settings": digests(known.root / "etc/rolecall", ("agent.toml", "allowed_signers", "seed.json")),
        "packages": [one._asdict() for one in packages],
    }
    about["script"] = hashlib.sha256(json.dumps(about["scripts"]).encode()).hexdigest()
    write(known.to / "manifest.json", about)
    write(known.to / "sbom.cdx.json", sbom(about, packages, distribution))


def os_release(root: Path) -> dict[str, str]:
    """What the distribution says that it is."""
    text = (root / "etc/os-release").read_text("utf-8")
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in text.splitlines())}


def system_packages(listed: Path, platform: str) -> Iterator[Package]:
    """The distribution's packages: name, version and architecture, a line each."""
    for line in listed.read_text("utf-8").splitlines():
        yield Package({"centos": "rpm"}.get(platform.partition("-")[0], "deb"), *line.split("\t"))


def python_packages(listed: Path) -> Iterator[Package]:
    """The agent's own: a METADATA file each."""
    for path in listed.read_text("utf-8").splitlines():
        found = dict(re.findall(r"^(Name|Version): *(.+?) *$", Path(path).read_text("utf-8"), re.MULTILINE)[:2])
        yield Package("pypi", found["Name"], found["Version"])


def digests(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """The SHA-256 of each file that is there."""
    paths = {name: folder / name for name in names}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items() if path.is_file()}


def size(root: Path, without: Path) -> int:
    """The bytes of all files on the root's own file system, those with several names once."""
    device, seen, total = root.stat().st_dev, set[int](), 0
    for folder, folders, names in os.walk(root):
        below = [Path(folder, one) for one in folders]
        folders[:] = [one.name for one in below if one.lstat().st_dev == device and one != without]
        for name in names:
            status = Path(folder, name).lstat()
            if stat.S_ISREG(status.st_mode) and status.st_dev == device and status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_size
    return total


def sbom(about: dict[str, Any], packages: list[Package], distribution: dict[str, str]) -> dict[str, Any]:
    """The same as a bill of materials; its serial number follows from its content."""
    names = distribution.get("ID", about["platform"]), distribution.get("VERSION_ID", "")
    components = [_component(one, one.purl(*names)) for one in packages]
    number = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps([about, components]))
    image = {"type": "operating-system", "name": f"rolecall-{about['role']}", "version": about["script"][:12]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {"component": {**image, "bom-ref": "image"}},
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": [one["bom-ref"] for one in components]}],
    }


def _component(package: Package, purl: str) -> dict[str, str]:
    kind = "library" if package.system == "pypi" else "application"
    return {"type": kind, "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def write(path: Path, data: dict[str, Any]) -> None:
    """JSON that people can read."""
    path.write_bytes((json.dumps(data, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
