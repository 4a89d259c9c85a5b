"""From power on to ready, and what happens where that is not to be had."""

import time
from pathlib import Path

import pytest

from baked import SEED
from machine.container import BOOT, EVERY_2_S, READY, REFRESH, TIMER, Machine
from machine.world import INSTANCE
from rolecall.host import journal
from roots import sh

HERE = Path(__file__).parent
DAEMONS = ("php8.2-fpm.service", "apache2.service", "cron.service", "munin-node.service")
ONESHOT = "[Unit]\nDescription=test\n{more}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={start}\n"


def finished(node: Machine, unit: str) -> int:
    """When a unit's start was done, on the machine's clock."""
    done = node.journal(f"UNIT={unit}", "JOB_TYPE=start", "JOB_RESULT=done")
    assert done, f"{unit} was never started\n{node.log()}"
    return int(done[0]["__MONOTONIC_TIMESTAMP"])


def install(node: Machine, name: str, start: str, more: str = "", target: str = "multi-user.target") -> None:
    """A unit that is enabled in the image."""
    node.write(f"/etc/systemd/system/{name}", ONESHOT.format(start=start, more=more))
    link = node.root / f"etc/systemd/system/{target}.wants/{name}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(f"../{name}")


def test_a_fresh_image_boots_to_ready_in_the_right_order(node: Machine) -> None:
    world = node.world
    install(node, "cloud-init.service", "/bin/sleep 1", "Before=network-online.target")
    install(node, "prepare.service", "/bin/sleep 4", "Before=apache2.service")  # longer than the run up to there
    ask = "/bin/sh -c 'exec 3<>/dev/tcp/127.0.0.1/80'".replace("/bin/sh", "/bin/bash")
    install(node, "product.service", ask, "After=rolecall-ready.target", "rolecall-ready.target")
    world.product("blog", cron=[{"name": "hourly", "schedule": "@hourly", "command": ["true"]}])
    world.publish()
    node.boot()

    assert node.run("systemctl is-system-running").strip() == "running", node.log()
    assert node.states(BOOT, READY, *DAEMONS) == ["active"] * 6
    status, headers, text = world.get("blog.example.com")
    assert (status, headers["X-Rolecall-Release"], text.split()[0]) == (200, "blog/1", "release=1")
    assert node.rolecall("status")["healthy"]
    assert world.reported()["outcome"] == "ready"
    assert world.reported()["warnings"] == [], "such as: no mount namespaces for a rehearsal"

    order = ["cloud-init.service", "prepare.service", "apache2.service", BOOT, READY, "product.service"]
    times = [finished(node, unit) for unit in order]
    assert times == sorted(times), dict(zip(order, times, strict=True))
    assert "ready, serving: generation" in node.show(BOOT, "StatusText")


def test_the_journal_has_every_step_with_fields_to_search_by(ready: Machine) -> None:
    steps = ready.journal("ROLECALL_COMMAND=boot", f"MESSAGE_ID={journal.STEP_DONE}")
    names = [record["ROLECALL_STEP"] for record in steps]
    steps_of_a_boot = "identify fetch verify assign render plan stage rehearse examine commit activate self-test ready"
    assert names == steps_of_a_boot.split()
    run = ready.told(f"MESSAGE_ID={journal.RUN_WELL}")
    assert run["ROLECALL_GENERATION"] == ready.links[0]
    assert {key: run[key] for key in ("PRIORITY", "ROLECALL_SERIAL", "ROLECALL_SERVER", "ROLECALL_OUTCOME")} == {
        "PRIORITY": "5", "ROLECALL_SERIAL": str(ready.world.document["serial"]), "ROLECALL_SERVER": "web1",
        "ROLECALL_OUTCOME": "ready",
    }  # fmt: skip
    assert (run["_SYSTEMD_UNIT"], run["SYSLOG_IDENTIFIER"]) == (BOOT, "rolecall")


def without_seed(node: Machine) -> None:
    """As an image that was baked without one."""
    node.setting(f'seed = "{SEED}"', "")
    (node.root / SEED[1:]).unlink()


@pytest.mark.long
def test_with_s3_out_a_fresh_machine_fails_visibly_and_becomes_ready_by_itself_once_it_is_back(node: Machine) -> None:
    without_seed(node)
    node.setting('metadata_timeout = "40s"', 'metadata_timeout = "2s"')
    node.drop_in(TIMER, EVERY_2_S)
    node.world.product("blog")
    node.world.publish()
    node.world.s3.stop()
    node.boot()
    assert BOOT in node.failed()
    assert set(node.failed()) <= {BOOT, REFRESH}, "the timer tries again meanwhile"
    assert node.states(READY, *DAEMONS) == ["inactive"] * 5, "without a configuration no daemon starts, and none fails"
    with pytest.raises(OSError, match="refused"):
        node.world.get("blog.example.com")
    record = node.told("ROLECALL_COMMAND=boot", "PRIORITY=3")
    assert "cannot read s3://fleet/prod/fleet.json" in record["MESSAGE"]
    assert record["ROLECALL_CAUSE"] == "unreachable"

    node.world.start(node.world.s3)
    node.until(lambda: node.states(READY) == ["active"])
    assert node.world.get("blog.example.com")[0] == 200
    node.until(lambda: node.failed() == [], 10)


@pytest.mark.long
def test_with_s3_out_a_fresh_machine_is_ready_by_its_images_seed_and_follows_the_document_once_it_is_back(
    node: Machine,
) -> None:
    world = node.world
    node.drop_in(TIMER, EVERY_2_S)
    world.product("blog")
    world.publish()
    world.s3.stop()
    node.boot()
    assert node.failed() == []
    assert node.states(BOOT, READY, *DAEMONS) == ["active"] * 6
    assert "seed used" in node.rolecall("status")["last_run"]["degraded"]
    assert world.get("blog.example.com")[0] == 404, "the seed has no product for it"

    world.start(world.s3)
    node.until(lambda: world.get("blog.example.com")[0] == 200)
    node.until(lambda: not node.rolecall("status")["last_run"]["degraded"])
    assert node.failed() == []
    assert world.reported()["serial"] == world.document["serial"]


@pytest.mark.long
def test_with_s3_out_a_machine_that_was_ready_boots_with_what_it_has(ready: Machine) -> None:
    ready.poweroff()
    ready.world.s3.stop()
    ready.boot()
    assert ready.failed() == []
    assert ready.states(BOOT, READY) == ["active"] * 2
    assert ready.world.get("blog.example.com")[0] == 200
    assert f"going on with serial {ready.world.document['serial']}" in ready.rolecall("status")["last_run"]["degraded"]


@pytest.mark.long
def test_an_imds_that_is_late_is_waited_for_past_the_units_own_timeout(node: Machine) -> None:
    node.drop_in(BOOT, "[Service]\nTimeoutStartSec=8\n")
    node.world.product("blog")
    node.world.publish()
    node.world.imds.stop()
    node.boot(wait=False)
    node.until(lambda: node.try_(f"systemctl show --value --property=StatusText {BOOT}").stdout == "identify\n")
    time.sleep(20)
    node.world.start(node.world.imds)
    node.until(lambda: node.states(READY) == ["active"])
    assert node.failed() == []
    assert node.world.get("blog.example.com")[0] == 200


def test_a_dead_agent_does_not_keep_a_machine_from_serving(ready: Machine) -> None:
    ready.poweroff()
    ready.write("/etc/rolecall/agent.toml", "role = \n")
    ready.boot()
    assert ready.failed() == [BOOT]
    assert ready.show(BOOT, "ExecMainStatus") == "78"
    assert ready.states(READY, *DAEMONS) == ["inactive", *["active"] * 4]
    assert ready.world.get("blog.example.com")[2].startswith("release=1 ")
    assert any("agent.toml" in record["MESSAGE"] for record in ready.journal("PRIORITY=3", f"_SYSTEMD_UNIT={BOOT}"))


@pytest.mark.long
def test_a_disk_with_the_state_of_another_instance_starts_anew(ready: Machine) -> None:
    ready.poweroff()
    world, other = ready.world, "i-0fedcba9876543210"
    world.product("shop")
    world.document["servers"]["web1"] |= {"instance": other, "products": ["shop"]}
    world.publish()
    world.imds.meta["instance-id"] = world.imds.data["dynamic"]["instance-identity"]["document"]["instanceId"] = other
    ready.boot()
    assert ready.failed() == [], ready.log()
    assert world.get("shop.example.com")[0] == 200
    assert world.get("blog.example.com")[0] == 404, "the other's products are not served"
    aside = ready.root / "var/lib/rolecall/aside" / f"from-{INSTANCE}"
    assert (aside / "fleet/verified.json").exists()
    assert any(f"the state of another instance, {INSTANCE}" in one["MESSAGE"] for one in ready.journal("PRIORITY=4"))


def clock_off(node: Machine, years: int) -> None:
    """Let the clock of the run at boot be wrong."""
    library = "/usr/local/lib/wrong_clock.so"
    sh("gcc", "-shared", "-fPIC", "-O2", "-o", node.root / library[1:], HERE / "wrong_clock.c")
    node.drop_in(BOOT, f"[Service]\nEnvironment=LD_PRELOAD={library} SECONDS_OFF={round(years * 365.25 * 86400)}\n")


@pytest.mark.parametrize("years", [pytest.param(-10, marks=pytest.mark.long), 10])
def test_with_a_clock_ten_years_off_it_serves_what_it_has_and_names_the_clock(ready: Machine, years: int) -> None:
    ready.poweroff()
    clock_off(ready, years)
    ready.boot()
    assert ready.world.get("blog.example.com")[2].startswith("release=1 ")
    assert ready.states(*DAEMONS) == ["active"] * 4
    told = ready.told("ROLECALL_COMMAND=boot", "ROLECALL_CAUSE=clock-skew", f"MESSAGE_ID={journal.RUN_WELL}")
    assert told["ROLECALL_OUTCOME"] == "unchanged"
    ready.poweroff()
    clock_off(ready, 0)
    ready.boot()
    assert ready.failed() == []
    assert ready.rolecall("status")["healthy"]


@pytest.mark.long
def test_a_fresh_machine_whose_clock_is_ten_years_slow_names_the_clock(node: Machine) -> None:
    without_seed(node)
    clock_off(node, -10)
    node.setting('metadata_timeout = "40s"', 'metadata_timeout = "2s"')
    node.world.product("blog")
    node.world.publish()
    node.boot()
    assert node.failed() == [BOOT]
    record = node.told("ROLECALL_COMMAND=boot", "PRIORITY=3")
    assert record["ROLECALL_CAUSE"] == "clock-skew"
    assert "chronyc makestep" in record["MESSAGE"]
