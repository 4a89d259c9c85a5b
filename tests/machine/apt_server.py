"""A source of packages for machines that have no internet: what roles need above an image, by HTTP."""

import hashlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from box import ROOT
from roots import debian_sources, kept, mounted, sh, write
from servers.http import Answer, Request, Server

AT_ONCE = 'Acquire::Retries "0";\n'  # apt waits 1, 2 and 4 s between its own tries


def packages_of(role: str) -> list[str]:
    """What the scripts of the image build would install for a role, above what every machine has."""
    said = sh(ROOT / "image-build/build", role, "--platform", "debian", "--dry-run")
    return re.findall(r"^  install +(\S+)", said.partition(f"\n{role}: ")[2], re.MULTILINE)


@contextmanager
def repository(memory: Path, image: Path, packages: Sequence[str]) -> Iterator[Path]:
    """A folder with these packages and all that they need and the image lacks, and with an index.

    apt itself chooses and verifies them, in the image and from its sources. It is kept while the image is the same.
    """

    def make(new: Path) -> None:
        above = memory / "downloads"
        with mounted(above / "root", above / "layer", image) as root:
            (root / "etc/resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
            apt = ("chroot", root, "apt-get", "-q", "-y", "--no-install-recommends")
            sh(*apt, "update")
            sh(*apt, "--download-only", "install", *packages)
            for deb in (root / "var/cache/apt/archives").glob("*.deb"):
                (new / deb.name).write_bytes(deb.read_bytes())
        sh("rm", "-r", above)
        write(new / "Packages", "\n".join(entries(new)))

    installed = (image / "var/lib/dpkg/status").read_text()
    with kept("packages", [*packages, installed, *debian_sources()], make) as folder:
        yield folder


def entries(folder: Path) -> Iterator[str]:
    """A paragraph of the index for each package."""
    for deb in sorted(folder.glob("*.deb")):
        data = deb.read_bytes()
        control = subprocess.check_output(["dpkg-deb", "--field", deb], text=True)
        digest = hashlib.sha256(data).hexdigest()
        yield f"{control.strip()}\nFilename: ./{deb.name}\nSize: {len(data)}\nSHA256: {digest}\n"


class AptServer(Server):
    """Serves such a folder."""

    def __init__(self, folder: Path, address: str, port: int) -> None:
        super().__init__(address, port)
        self.folder = folder

    def answer(self, request: Request) -> Answer:
        path = self.folder / Path(request.path).name
        return Answer(200, path.read_bytes()) if path.is_file() else Answer(404)

    def only_source_of(self, root: Path) -> None:
        """This machine's apt asks here and nowhere else."""
        apt = root / "etc/apt"
        for source in (*apt.rglob("*.sources"), *apt.rglob("*.list")):
            source.unlink()
        write(apt / "sources.list", f"deb [trusted=yes] {self.url} ./\n")
        write(apt / "apt.conf.d/99at-once", AT_ONCE)
