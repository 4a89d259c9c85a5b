"""A disk as `image-build/build` makes it, under QEMU: its own kernel and its own DHCP, without a container's help."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from baked import SETTINGS, Images, bake
from builds import Builds
from machine.qemu import QEMU, Disk, slow, switched
from machine.world import World

PATIENT = SETTINGS.replace('selftest_deadline = "10s"', 'selftest_deadline = "60s"')  # every instruction is emulated


@pytest.mark.timeout(3600)
@slow("boots a disk under QEMU, which takes minutes")
def test_a_baked_disk_comes_up_by_itself_and_again_with_s3_out(
    memory: Path, images: Images, builds: Builds, figure: Callable[[str], None]
) -> None:
    if missing := [name for name in (QEMU, "mkfs.ext4") if not shutil.which(name)]:
        pytest.skip(f"not run: {', '.join(missing)} not installed")
    folder = memory / "qemu"
    folder.mkdir()
    image = bake("web", folder / "web.img", builds.package("debian-12"), images.keys, PATIENT)
    with World(f"rc{os.getpid()}-disk", folder, images.keys) as world, switched(world), Disk(image, world) as disk:
        world.product("blog")
        world.publish()
        disk.power_on()
        served = disk.until(lambda: serves(world))
        ready = disk.until(lambda: world.reported()["outcome"] == "ready")
        report = world.reported()
        assert (report["command"], report["source"], report["warnings"]) == ("boot", "s3://fleet/prod/fleet.json", [])
        off = disk.power_off()

        world.s3.stop()
        disk.power_on()
        again = disk.until(lambda: serves(world))
        disk.until(lambda: "degraded: no store answers" in disk.said())
        disk.power_off()
    figure(
        f"a disk under QEMU, emulated: serves {served:.0f} s after power on, ready after {ready:.0f} s\n"
        f"   (the run {report['seconds']:.1f} s of it), off in {off:.0f} s; with S3 out it serves after {again:.0f} s"
    )


def serves(world: World) -> bool:
    """Whether the product answers with the release of the document."""
    status, headers, text = world.get("blog.example.com")
    return (status, headers.get("X-Rolecall-Release")) == (200, "blog/1") and text.startswith("release=1 ")
