"""A release of many small files is on the disk about as soon as with tar and sync."""

import io
import random
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from rolecall.host import archive, files

FILES = 4000


def seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def test_unpacking_many_files_takes_a_small_multiple_of_tar_and_sync(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    packed, chance = tmp_path / "a.tar.gz", random.Random(1)
    with tarfile.open(packed, "w:gz", compresslevel=1) as tar:
        for number in range(FILES):
            entry = tarfile.TarInfo(f"vendor/package{number // 400}/src/{number // 40 % 10}/File{number}.php")
            entry.size = chance.randrange(200, 6000)
            tar.addfile(entry, io.BytesIO(chance.randbytes(entry.size)))

    def peers(folder: Path) -> None:
        folder.mkdir()
        subprocess.run(["tar", "-xzf", packed, "-C", folder], check=True)
        subprocess.run(["sync", "-f", folder], check=True)

    def ours(folder: Path) -> None:
        archive.unpack(packed, folder, "a.tar.gz")
        files.sync_all(folder)

    pairs = [
        (seconds(lambda at=at: ours(tmp_path / f"ours{at}")), seconds(lambda at=at: peers(tmp_path / f"peers{at}")))  # type: ignore[misc]
        for at in range(3)
    ]
    ratio = min(mine for mine, _ in pairs) / min(theirs for _, theirs in pairs)
    print(f"\n{FILES} files: {ratio:.1f} times tar and sync")
    record_property("unpacking ratio", round(ratio, 2))
    assert ratio < 6, "an fsync a file took 25 times as long"
