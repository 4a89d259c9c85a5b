"""Daemons are told once each, in the role's order, of what they have not loaded: by systemd or directly."""

import os
import shutil
import subprocess
from pathlib import Path

from box import ROOT, Box

# systemctl as far as the agent uses it, for a node in a folder: it logs its words, and does what units would do.
SYSTEMCTL = """#!/bin/sh
root={root}
echo "$*" >>"$root/systemctl.log"
case "$1" in
list-jobs) [ ! -e "$root/jobs" ] || sed -i "1w /dev/stdout
1d" "$root/jobs" | tr , '\n' ;;
show) echo "rolecall-boot.service slow.service network.target" ;;
--job-mode=*) shift ;;
esac
for unit; do :; done
case "$unit" in
php8.2-fpm.service) pidfile=$root/run/php/php8.2-fpm.pid reload=USR2 start="php-fpm8.2 --daemonize" ;;
apache2.service) pidfile=$root/run/apache2/apache2.pid reload=USR1 start="apache2ctl -k start" ;;
cron.service)
  [ "$1" = restart ] && [ -e "$root/no-digests" ] || exit 0
  grep -q digest "$root/var/lib/rolecall/current/cron/rolecall" || exit 0
  echo "Job for cron.service failed."
  exit 1 ;;
*) exit 0 ;;
esac
pid=$(cat "$pidfile" 2>/dev/null) && kill -0 "$pid" 2>/dev/null || pid=
case "$1" in
--quiet) [ -n "$pid" ] ;;
reload-or-restart) if [ -n "$pid" ]; then kill -$reload "$pid"; else $start; fi ;;
*) exit 1 ;;
esac
"""


def under_systemd(box: Box) -> Path:
    """Have the node believe in systemd; returns the log of what systemctl was told."""
    programs = {"systemctl": SYSTEMCTL.format(root=box.machine.root), "journalctl": "#!/bin/sh\necho the log\n"}
    if os.geteuid() != 0:
        # crontab needs the group that owns its spool, and a user namespace has none but one's own.
        programs["crontab"] = "#!/bin/sh\nexec cat >/dev/null\n"
    for name, text in programs.items():
        program = box.machine.root / "usr/sbin" / name
        program.write_text(text)
        program.chmod(0o755)
    config = box.machine.config
    config.write_text(config.read_text().replace('service_manager = "direct"', 'service_manager = "systemd"'))
    return box.machine.root / "systemctl.log"


def told(log: Path) -> list[str]:
    """The units that were told something since the last call."""
    words = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [line for line in words if not line.startswith(("--quiet", "list-jobs", "show", "daemon-reload"))]


def test_systemd_units_are_told_once_each_in_the_order_of_the_role(box: Box) -> None:
    log = under_systemd(box)
    box.product("blog")
    box.publish()
    box.boot()
    assert told(log) == [
        "reload-or-restart php8.2-fpm.service",
        "reload-or-restart apache2.service",
        "restart cron.service",
        "restart munin-node.service",
    ]
    box.document["products"]["blog"]["environment"] = {"NEW": "1"}
    box.publish()
    box.rolecall("refresh")
    assert told(log) == ["reload-or-restart apache2.service"], "only who reads what has changed"
    box.rolecall("refresh")
    assert told(log) == []


def test_at_boot_daemons_are_told_past_their_order_after_us_yet_not_before_what_else_they_are_ordered_after(
    box: Box,
) -> None:
    log = under_systemd(box)
    ours = "7 rolecall-boot.service start running,8 apache2.service start waiting"
    answers = [f"{ours},9 slow.service start running"] * 3 + [ours] * 100  # one for each time that it is asked
    (box.machine.root / "jobs").write_text("\n".join(answers))
    box.product("blog")
    box.publish()
    box.boot()
    words = log.read_text().splitlines()
    first = words.index("--job-mode=ignore-dependencies reload-or-restart php8.2-fpm.service")
    assert words[:first].count("list-jobs --no-legend") == 4, "asked until slow.service was started"
    assert told(log) == [
        "--job-mode=ignore-dependencies reload-or-restart php8.2-fpm.service",
        "--job-mode=ignore-dependencies reload-or-restart apache2.service",
        "--job-mode=ignore-dependencies restart cron.service",
        "--job-mode=ignore-dependencies restart munin-node.service",
    ]


def test_an_image_has_its_daemons_wait_for_the_run_at_boot_and_for_a_configuration(box: Box) -> None:
    under_systemd(box)
    laid = box.json("image", "attach")
    drop_in = box.machine.root / "etc/systemd/system/apache2.service.d/rolecall.conf"
    assert drop_in.read_text().splitlines()[1:] == [
        "[Unit]", "After=rolecall-boot.service", "Before=rolecall-drain.service",
        f"ConditionPathExists={box.state}/current/apache",
    ]  # fmt: skip
    assert len([path for path in laid if ".service.d/" in path]) == 4
    assert box.json("image", "attach") == []
    drop_in.unlink()
    box.publish()
    told = {one["what"]: one["remedy"] for one in box.json("doctor", ok=1) if not one["ok"]}
    assert told[f"attachment: {drop_in} is missing"] == "rolecall image attach"


def test_what_was_attached_can_be_taken_away_again_and_what_stood_there_comes_back(box: Box) -> None:
    under_systemd(box)
    munin, apache = (box.machine.root / name for name in ("etc/munin/munin-node.conf",
                                                          "etc/apache2/conf-enabled/zz-rolecall.conf"))  # fmt: skip
    munin.write_text("the distribution's\n")
    laid = box.json("image", "attach")
    cron = box.machine.root / "etc/cron.d/rolecall"
    cron.unlink()
    cron.write_text("an operator's\n")
    taken = box.json("image", "detach")
    assert set(laid) - set(taken) == {str(cron)}
    assert (munin.read_text(), cron.read_text()) == ("the distribution's\n", "an operator's\n")
    assert not apache.exists()
    assert list((box.machine.root / "etc/systemd/system").rglob("*.conf")) == []
    assert box.json("image", "detach") == []


def test_whatever_an_attachment_replaces_is_kept_and_named_before_and_after(box: Box) -> None:
    munin, plugin = (box.machine.root / "etc/munin" / name for name in ("munin-node.conf", "plugins/cpu"))
    plugin.parent.mkdir(parents=True, exist_ok=True)
    munin.write_text("mine\n")
    munin.with_name("munin-node.conf.orig").write_text("older\n")
    plugin.symlink_to("/opt/mine/cpu")
    box.publish()
    told = box.rolecall("doctor", ok=1).stdout
    assert "what stands there would be kept as munin-node.conf.orig.1" in told
    told = box.rolecall("image", "attach").stdout
    kept = munin.with_name("munin-node.conf.orig.1")
    assert f"laid {munin} (what stood there is {kept} now)" in told
    assert (kept.read_text(), munin.with_name("munin-node.conf.orig").read_text()) == ("mine\n", "older\n")
    assert plugin.with_name("cpu.orig").readlink() == Path("/opt/mine/cpu")
    assert told.count("what stood there") == 2


def test_the_attachments_of_another_version_are_laid_by_the_run_where_nothing_of_others_stands(box: Box) -> None:
    roles = box.machine.root / "roles"
    shutil.copytree(ROOT / "templates", roles)
    box.machine.config.write_text(box.machine.config.read_text().replace("[paths]", f'[paths]\ntemplates = "{roles}"'))
    table = roles / "common/role.toml"
    newest = table.read_text()
    table.write_text(newest.replace('path = "/etc/motd.d/rolecall"', 'path = "/etc/motd"'))
    motd, own = (box.machine.root / name for name in ("etc/motd", "etc/motd.d/rolecall"))
    motd.write_text("welcome\n")
    box.product("blog", runtime="static")
    box.publish()
    box.boot()
    assert motd.is_symlink()
    table.write_text(newest)
    assert f"other attachments, which were laid: {own}" in box.rolecall("refresh").stderr
    assert own.is_symlink()
    box.rolecall("image", "attach")
    assert motd.read_text() == "welcome\n", "what the earlier version had replaced comes back"
    box.rolecall("image", "detach")
    table.write_text(newest.replace("rolecall.prom", "rolecall-agent.prom"))
    assert "attachments are not in place" in box.rolecall("refresh", ok=False).stderr, "who detached it meant it"


def test_who_attaches_a_machine_whose_daemons_run_is_told_what_that_means(box: Box) -> None:
    under_systemd(box)
    subprocess.run(["apache2ctl", "-k", "start"], env=box.env, check=True)
    told = box.rolecall("image", "attach").stderr
    assert "note: apache2.service runs, and would not start again before this node's first run: rolecall boot" in told
    assert "php8.2-fpm.service" not in told, "it does not run"
    box.product("blog", runtime="static")
    box.publish()
    box.boot()
    assert box.rolecall("image", "attach").stderr == ""


def test_a_unit_that_cannot_be_told_is_named_with_its_log_rolled_back_and_still_owed(box: Box) -> None:
    log = under_systemd(box)
    box.product("blog")
    box.publish()
    box.boot()
    told(log)
    broken = box.machine.root / "no-digests"
    broken.touch()
    box.document["products"]["blog"]["cron"] = [{"name": "digest", "schedule": "@daily", "command": ["true"]}]
    box.document["products"]["blog"]["environment"] = {"NEW": "1"}
    box.publish()
    done = box.rolecall("refresh", ok=1)
    assert "systemctl restart cron.service failed: Job for cron.service failed.\nthe log" in done.stderr
    assert "rolled back" in done.stdout
    assert told(log).count("reload-or-restart apache2.service") == 2, "Apache is told of the way back too"
    broken.unlink()
    box.rolecall("refresh", "--resume")
    assert "digest" in (box.state / "current/cron/rolecall").read_text()
    assert "restart cron.service" in told(log)


def test_a_cron_table_that_cron_would_not_take_is_refused_where_cron_is_run(box: Box) -> None:
    under_systemd(box)
    crontab = box.machine.root / "usr/sbin/crontab"
    crontab.write_text(
        "#!/bin/sh\ncat >/dev/null\necho 'bad minute; errors in crontab file, cannot install' >&2\nexit 1\n"
    )
    crontab.chmod(0o755)
    box.product("blog")
    box.publish()
    done = box.boot(ok=1)
    assert "refused by cron" in done.stderr
    assert "bad minute" in done.stderr


def test_after_a_reboot_every_daemon_has_what_is_current(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.stop()
    for path in sorted(box.machine.run.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert "reload php-fpm, reload apache" in box.rolecall("boot").stderr
    assert box.get("blog.example.com")[0] == 200


def test_a_daemon_that_died_is_missed_by_the_self_tests_and_started_by_the_next_change(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.stop()
    assert "apache2.service is not active" in box.rolecall("selftest", ok=1).stdout
    box.document["products"]["blog"]["workers"] = 3
    box.document["products"]["blog"]["environment"] = {"NEW": "1"}
    box.publish()
    box.rolecall("refresh")
    assert box.get("blog.example.com")[0] == 200
