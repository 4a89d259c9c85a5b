"""How long a machine needs from power on to ready, and the memory of the run, for 1, 5 and 20 products."""

from collections.abc import Callable

import pytest

from machine.container import BOOT, Machine
from patience import on_this_machine

MEASURE = """
import os, subprocess, sys
run = subprocess.Popen(["rolecall", *sys.argv[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(os.wait4(run.pid, 0)[2].ru_maxrss // 1024)
"""


@pytest.mark.parametrize("products", [1, *(pytest.param(count, marks=pytest.mark.long) for count in (5, 20))])
def test_a_machine_is_ready_in_time(node: Machine, products: int, figure: Callable[[str], None]) -> None:
    for number in range(products):
        node.world.product(f"p{number}", padding=1 << 20, cron=[
            {"name": "hourly", "schedule": "@hourly", "command": ["true"]}])  # fmt: skip
    node.world.publish()
    node.boot()
    assert node.failed() == [], node.log()
    told = node.rolecall("blame")
    steps = ", ".join(f"{one['step']} {one['longest']:.2f}" for one in told["steps"] if one["longest"] >= 0.01)
    used = node.run(f"systemctl show --value --property=CPUUsageNSec {BOOT}").strip()
    node.write("/root/measure.py", MEASURE)
    boot, refresh = (node.run(f"python3 /root/measure.py {command}").strip() for command in ("boot", "refresh"))
    cpu = f", {int(used) / 1e9:.2f} s of CPU" if used.isdecimal() else ""
    figure(
        f"{products:>2} products of 1 MiB: ready {node.booted:.2f} s after power on; "
        f"the run {told['longest_run']:.2f} s{cpu}\n"
        f"   {steps}\n   at most {boot} MiB in a run, {refresh} MiB in a refresh that changes nothing"
    )
    assert node.booted < on_this_machine(60)
    assert all(node.world.get(f"p{number}.example.com")[0] == 200 for number in range(products))
