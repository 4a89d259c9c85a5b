"""The run's promises, on a real Apache and a real php-fpm."""

import json
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta

from box import ROLECALL, ROOT, Box
from patience import on_this_machine
from rolecall.host import boot
from rolecall.node.node import open_node
from rolecall.settings import load_settings
from rolecall.steps.choice import failures_of, remaining_pause
from roots import sh


def test_a_node_boots_serves_and_says_that_it_is_ready(box: Box) -> None:
    box.product("blog")
    box.product("video", runtime="static")
    box.publish()
    assert "ready: generation" in box.boot().stdout
    status, headers, text = box.get("blog.example.com")
    assert (status, headers["X-Rolecall-Release"]) == (200, "blog/1")
    assert text == f"release=1 config={headers['X-Rolecall-Config']} master=db1\n"
    assert box.get("video.example.com")[2] == "release=1\n"
    report = json.loads((box.machine.store / "reports/web1.json").read_text())
    assert (report["outcome"], report["exit_code"], report["server"]) == ("ready", 0, "web1")


def test_a_promoted_database_reaches_the_pages_at_the_next_refresh(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.document["databases"]["blog"] |= {"epoch": 2, "master": "db2", "candidate": "db1"}
    box.publish()
    assert "reload apache" in box.rolecall("refresh").stderr
    assert "master=db2" in box.get("blog.example.com")[2]


def test_a_release_whose_health_page_fails_is_rolled_back_code_and_configuration_together(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    before = box.get("blog.example.com")[1]["X-Rolecall-Config"]
    box.product("blog", "2", health="down", environment={"NEW": "1"})
    box.publish()
    result = box.rolecall("refresh", ok=1)
    assert "blog: GET /health" in result.stderr
    assert "rolled back" in result.stdout
    status, headers, text = box.get("blog.example.com")
    assert (status, headers["X-Rolecall-Config"], text.split()[0]) == (200, before, "release=1")
    assert "waiting" in box.rolecall("refresh", ok=1).stdout, "a failed generation is not tried again at once"
    box.product("blog", "3")
    box.publish()
    assert "ready" in box.rolecall("refresh").stdout, "a changed document is tried at once"


def test_a_removed_product_takes_its_vhost_pool_cron_and_in_the_end_its_release_along(box: Box) -> None:
    config = box.machine.config
    config.write_text(config.read_text() + "\n[keep]\ngenerations = 1\n")
    box.product("blog", cron=[{"name": "digest", "schedule": "@daily", "command": ["true"]}])
    box.product("video", runtime="static")
    box.publish()
    box.boot()
    del box.document["products"]["blog"]
    box.document["servers"]["web1"]["products"] = ["video"]
    box.publish()
    box.rolecall("refresh")
    current = box.state / "current"
    left = [path.relative_to(current).as_posix() for path in current.resolve().rglob("*") if "blog" in path.name]
    assert not left
    assert "blog" not in (current / "cron/rolecall").read_text()
    assert not (box.state / "releases/blog").exists()
    assert box.get("blog.example.com")[0] == 404
    assert box.get("video.example.com")[0] == 200


def test_a_new_serial_with_equal_content_changes_nothing_and_tells_no_daemon(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    before = (box.state / "current").readlink()
    box.publish(json.loads(json.dumps({**box.document, "serial": box.document["serial"] + 1}, sort_keys=True).encode()))
    result = box.rolecall("refresh")
    assert "unchanged" in result.stdout
    assert "up to date" in result.stderr
    assert (box.state / "current").readlink() == before


def test_what_products_write_is_kept_across_releases_and_never_run_as_a_program(box: Box) -> None:
    box.product("blog", writable=["public/uploads"])
    box.publish()
    box.boot()
    uploads = box.state / "shared/blog/public/uploads"
    (uploads / "photo.txt").write_text("kept")
    (uploads / "shell.php").write_text("<?php echo 'pwned';")
    (uploads / "shell.php.jpg").write_text("<?php echo 'pwned';")
    box.product("blog", "2", writable=["public/uploads"])
    box.publish()
    box.rolecall("refresh")
    assert box.get("blog.example.com", "/uploads/photo.txt")[2] == "kept"
    assert box.get("blog.example.com", "/uploads/shell.php")[0] == 403
    assert "pwned" not in box.get("blog.example.com", "/uploads/shell.php.jpg")[2]
    assert "release=2" in box.get("blog.example.com")[2]


def test_a_configuration_that_a_daemon_refuses_never_becomes_current(box: Box) -> None:
    templates = shutil.copytree(ROOT / "templates", box.machine.root / "templates")
    config = box.machine.config
    config.write_text(config.read_text().replace("[paths]", f'[paths]\ntemplates = "{templates}"'))
    box.product("blog")
    box.publish()
    box.boot()
    before = (box.state / "current").readlink()
    vhost = templates / "web/vhost.conf.j2"
    vhost.write_text(vhost.read_text() + "NoSuchDirective on\n")
    result = box.rolecall("refresh", ok=1)
    assert "NoSuchDirective" in result.stderr
    assert "✓ commit" not in result.stderr
    assert (box.state / "current").readlink() == before
    assert box.get("blog.example.com")[0] == 200


def test_where_namespaces_are_refused_the_run_says_so_and_validates_before_any_daemon_is_told(box: Box) -> None:
    refusing = box.machine.root / "usr/sbin/unshare"
    refusing.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    templates = shutil.copytree(ROOT / "templates", box.machine.root / "templates")
    config = box.machine.config
    config.write_text(config.read_text().replace("[paths]", f'[paths]\ntemplates = "{templates}"'))
    box.product("blog")
    box.publish()
    assert "no mount namespaces here" in box.boot().stderr
    before = (box.state / "current").readlink()
    vhost = templates / "web/vhost.conf.j2"
    good = vhost.read_text()
    vhost.write_text(good + "NoSuchDirective on\n")
    result = box.rolecall("refresh", ok=1)
    assert "NoSuchDirective" in result.stderr
    assert "reload apache" not in result.stderr
    assert (box.state / "current").readlink() == before, "the switch is taken back"
    vhost.write_text(good)
    box.publish()
    assert box.rolecall("refresh").returncode == 0


def test_with_the_store_out_the_node_goes_on_with_the_last_verified_document_and_says_so(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    away = box.machine.store.rename(box.machine.root / "srv/away")
    for _ in range(3):
        result = box.rolecall("refresh")
        assert "degraded: no store answers" in result.stderr
        assert box.get("blog.example.com")[0] == 200
    box.stop()
    shutil.rmtree(box.machine.run)
    assert "degraded" in box.rolecall("boot").stderr, "a reboot with the store out serves too"
    assert box.get("blog.example.com")[0] == 200
    away.rename(box.machine.store)
    assert "degraded" not in box.rolecall("refresh").stderr


def test_a_node_without_any_document_says_why_and_that_trying_again_may_help(box: Box) -> None:
    result = box.rolecall("boot", ok=75)
    assert f"cannot read {box.machine.store}/fleet.json" in result.stderr
    assert not (box.state / "ready").exists()


def test_an_expired_document_is_kept_by_a_node_that_runs_by_it_and_refused_by_every_other(box: Box) -> None:
    box.product("blog")
    soon = datetime.now(UTC) + timedelta(seconds=8)
    box.document["not_after"] = f"{soon:%Y-%m-%dT%H:%M:%SZ}"
    box.publish()
    box.boot()
    while datetime.now(UTC) <= soon:
        time.sleep(0.2)
    box.machine.config.touch()  # something has moved, so that the refresh looks at all of it
    assert "expired on" in box.rolecall("refresh").stderr
    box.document["products"]["blog"]["environment"] = {"NEW": "1"}
    box.publish()
    assert "expired on" in box.rolecall("refresh", ok=78).stderr, "an old document with something new in it"
    assert box.get("blog.example.com")[0] == 200
    shutil.rmtree(box.state)
    assert "expired on" in box.rolecall("boot", ok=78).stderr, "a new node"


def test_a_lower_serial_and_an_edit_without_a_new_serial_are_refused(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.document["databases"]["blog"]["master"] = "db2"
    box.document["databases"]["blog"]["candidate"] = "db1"
    box.publish(raise_serial=False)
    assert "raise the serial with every change" in box.rolecall("refresh", ok=78).stderr
    box.document["serial"] -= 1
    box.publish(raise_serial=False)
    assert "publish the old content with a new serial" in box.rolecall("refresh", ok=78).stderr
    assert "master=db1" in box.get("blog.example.com")[2]


def test_a_release_that_is_not_what_the_document_says_is_refused_and_leaves_nothing(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.product("blog", "2")
    (box.machine.store / "releases/blog/2.tar.gz").write_bytes(b"something else of another length")
    box.publish()
    assert "releases/blog/2.tar.gz has 32 bytes, not the" in box.rolecall("refresh", ok=78).stderr
    box.document["products"]["blog"]["release"]["size"] = 32
    box.publish()
    assert "has the SHA-256" in box.rolecall("refresh", ok=78).stderr
    assert not list((box.state / "releases/blog").glob(".*"))
    assert "release=1" in box.get("blog.example.com")[2]


def test_an_operator_rolls_back_and_it_holds_until_the_document_changes(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.product("blog", "2")
    box.publish()
    box.rolecall("refresh")
    assert "release=2" in box.get("blog.example.com")[2]
    box.rolecall("rollback")
    assert "release=1" in box.get("blog.example.com")[2]
    assert "held at generation" in box.rolecall("refresh").stderr
    assert "release=1" in box.get("blog.example.com")[2]
    box.rolecall("refresh", "--resume")
    assert "release=2" in box.get("blog.example.com")[2]
    box.rolecall("rollback")
    box.product("blog", "3")
    box.publish()
    box.rolecall("refresh")
    assert "release=3" in box.get("blog.example.com")[2]


def test_cron_jobs_run_as_written_with_the_environment_of_the_requests(box: Box) -> None:
    arguments = ["100%", "a b", "it's", '"q"', "$HOME", "`id`", "\\%", "*", "ü", ""]
    code = "import json,os,sys; print(json.dumps([sys.argv[1:], os.environ['DATABASE_BLOG_MASTER'], os.getcwd()]))"
    job = {"name": "digest", "schedule": "*/15 * * * *", "command": ["python3", "-c", code, *arguments]}
    box.product("blog", cron=[job])
    box.publish()
    box.boot()
    line = next(line for line in (box.state / "current/cron/rolecall").read_text().splitlines() if "digest" in line)
    command = line.split(" ", 6)[6]
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    folder = f"{box.state}/releases/blog/{box.document['products']['blog']['release']['sha256']}"
    assert json.loads(result.stdout) == [arguments, "10.0.0.21:3306", folder]


def test_a_secret_reaches_the_page_and_nothing_else(box: Box) -> None:
    canary = 'c4n4ry "$\\ %${PATH}'
    secret = box.machine.root / "etc/rolecall/pw"
    secret.touch(0o600)
    secret.write_text(canary + "\n")
    page = "<?php echo $_SERVER['DB_PASSWORD'];"
    box.product("blog", secrets={"DB_PASSWORD": f"file:{secret}"})
    box.document["products"]["blog"]["release"] = box.release(
        "blog", "s", {"public/index.php": page, "public/health": "ok"}
    )
    box.publish()
    results = [box.rolecall("plan"), box.boot(), box.rolecall("status"), box.rolecall("history", "--json")]
    assert box.get("blog.example.com")[2] == canary
    assert "c4n4ry" not in "".join(result.stdout + result.stderr for result in results)
    assert "<secret blog.DB_PASSWORD>" in results[0].stdout
    for path in box.machine.root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path != secret and b"c4n4ry" in path.read_bytes():
            assert path.stat().st_mode & 0o007 == 0, f"{path} can be read by everybody"
            assert path.parent.name in ("apache", "jobs", "mysql"), f"{path} has the secret"
    secret.write_text("another\n")
    assert "reload apache" in box.rolecall("refresh").stderr, "a secret's new value is a change"
    assert box.get("blog.example.com")[2] == "another"


def test_a_product_brings_its_own_template_only_where_the_role_allows_it_by_name(box: Box) -> None:
    templates = shutil.copytree(ROOT / "templates", box.machine.root / "templates")
    config = box.machine.config
    config.write_text(config.read_text().replace("[paths]", f'[paths]\ntemplates = "{templates}"'))
    files = {"public/index.html": "x", "public/health": "ok",
             "rolecall/redirects.conf.j2": "# for {{ product.name | word }}\n",
             "rolecall/other.conf.j2": "# never"}  # fmt: skip
    box.product("blog")
    box.document["products"]["blog"]["release"] = box.release("blog", "t", files)
    box.publish()
    box.boot()
    assert not list((box.state / "current").resolve().glob("apache/60-*"))
    role = templates / "web/role.toml"
    role.write_text(role.read_text() + '\n[[file]]\nsource = "rolecall/redirects.conf.j2"\nrelease = true\n'
                    'path = "apache/60-{{ product.name }}.conf"\neach = "product"\nunits = ["apache"]\n')  # fmt: skip
    box.rolecall("refresh")
    assert (box.state / "current/apache/60-blog.conf").read_text() == "# for blog\n"
    # A template that cannot be read is its product's fault, and keeps no other from being deployed.
    box.product("shop", runtime="static")
    box.document["products"]["blog"]["release"] = box.release(
        "blog", "u", {**files, "rolecall/redirects.conf.j2": b"\xff"}
    )
    box.publish()
    assert "blog: cannot read the release's rolecall/redirects.conf.j2" in box.rolecall("refresh", ok=78).stderr
    assert box.get("shop.example.com")[2] == "release=1\n"
    assert (box.state / "current/apache/60-blog.conf").read_text() == "# for blog\n"


def test_a_file_of_the_live_generation_that_was_changed_by_hand_is_put_back(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    vhost = box.state / "current/apache/50-blog.conf"
    good = vhost.read_text()
    vhost.write_text("# edited\n")
    assert "repaired apache/50-blog.conf" in box.rolecall("refresh").stderr
    assert vhost.read_text() == good


def test_a_missing_attachment_is_told_with_its_remedy(box: Box) -> None:
    box.product("blog")
    box.publish()
    result = box.rolecall("boot", ok=1)
    assert "the role's attachments are not in place" in result.stderr
    assert "rolecall image attach" in box.rolecall("doctor", ok=1).stdout


def test_at_boot_a_store_that_comes_late_is_waited_for(box: Box) -> None:
    config = box.machine.config
    config.write_text(config.read_text().replace('metadata_timeout = "1s"', 'metadata_timeout = "30s"'))
    box.product("blog")
    box.rolecall("image", "attach")
    argv = [*ROLECALL, "boot", "--config", str(config)]
    with subprocess.Popen(argv, env=box.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as booting:
        time.sleep(1.5)
        box.publish()
        output = booting.communicate(timeout=60)[0]
    assert (booting.returncode, "ready" in output) == (0, True), output


def test_what_this_version_does_not_have_is_passed_over_and_said_as_long_as_something_is_left(box: Box) -> None:
    config = box.machine.config
    text = config.read_text()
    additions = {'store = ["': 'store = ["ftp://heavy-fleet/prod", "', 'identity = ["': 'identity = ["gce", "',
            '"store", "textfile"]': '"store", "textfile", "dns"]'}  # fmt: skip
    wide = text
    for old, new in additions.items():
        wide = wide.replace(old, new)
    config.write_text(wide)
    box.product("blog")
    box.publish()
    stderr = box.boot().stderr
    for words in ("store 'ftp://heavy-fleet/prod' is passed over", "identity 'gce'", "readiness 'dns'"):
        assert words in stderr
    config.write_text(text.replace("file:///", "ftp:///"))
    assert "names nothing that this version has" in box.rolecall("refresh", ok=78).stderr


def test_two_checks_with_one_name_are_two_checks(box: Box) -> None:
    box.product("blog")
    box.document["products"]["blog"]["checks"] = [
        {"http": "/", "contains": "nope"},
        {"http": "/", "contains": "release"},
    ]
    box.publish()
    assert "does not contain 'nope'" in box.boot(ok=1).stderr


def test_a_document_root_that_the_release_does_not_have_is_refused_whenever_it_is_asked_for(box: Box) -> None:
    box.product("video", runtime="static")
    box.publish()
    box.boot()
    box.document["products"]["video"]["document_root"] = "htdocs"
    box.publish()
    assert "has no folder 'htdocs'" in box.rolecall("refresh", ok=78).stderr
    assert box.get("video.example.com")[0] == 200


def test_an_archive_that_is_not_there_yet_is_taken_as_soon_as_it_is(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.product("blog", "2")
    archive = box.machine.store / "releases/blog/2.tar.gz"
    late = archive.rename(archive.with_name("late"))
    box.publish()
    assert "releases/blog/2.tar.gz: No such file" in box.rolecall("refresh", ok=75).stderr
    late.rename(archive)
    assert "ready" in box.rolecall("refresh").stdout


def test_a_daemon_that_died_is_started_by_the_next_full_run_and_the_history_tells(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.stop()
    assert box.json("status")["healthy"] is False
    box.machine.config.touch()
    assert "reload php-fpm, reload apache" in box.rolecall("refresh").stderr
    assert box.json("status", ok=True)["healthy"] is True
    assert [report["outcome"] for report in box.json("history", ok=True)] == ["unchanged", "ready"]


def test_a_refused_document_is_seen_in_the_store_and_in_status_until_it_is_corrected(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    box.publish({**box.document, "serial": 99, "databses": {}})
    box.rolecall("refresh", ok=78)
    report = json.loads((box.machine.store / "reports/web1.json").read_text())
    assert (report["outcome"], "databses" in report["error"], report["server"]) == ("refused", True, "web1")
    status = box.json("status", ok=1)
    assert (status["serving"], status["healthy"]) == (True, False)
    box.document["serial"] = 99
    box.publish()
    box.rolecall("refresh")
    assert box.json("status", ok=True)["healthy"] is True


def test_a_node_is_never_rolled_back_to_nothing(box: Box) -> None:
    box.product("blog")
    box.publish()
    box.boot()
    current = (box.state / "current").readlink().name
    empty = next(entry for entry in (box.state / "generations").iterdir() if entry.name != current)
    assert "no earlier generation was ever ready" in box.rolecall("rollback", ok=1).stderr
    assert "on disk: none but the current one" in box.rolecall("rollback", empty.name[:8], ok=1).stderr


def test_a_report_that_cannot_be_kept_hides_nothing_of_how_the_run_ended(box: Box) -> None:
    box.product("blog", runtime="static")
    box.publish()
    box.boot()
    box.product("blog", "2", runtime="static")
    box.publish()
    reports = box.state / "reports"
    sh("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", reports)
    try:
        result = box.rolecall("refresh", ok=1)
    finally:
        sh("umount", reports)
    assert result.stdout.startswith("ready: generation ")
    assert "note: the report could not be kept: " in result.stderr
    assert box.get("blog.example.com")[2] == "release=2\n"


def test_a_failed_generation_waits_from_the_end_of_its_try_however_long_that_took(box: Box) -> None:
    box.product("blog", runtime="static")
    box.publish()
    box.boot()
    box.product("blog", "2", runtime="static", health="down")  # which is tried for 5 s
    box.publish()
    box.rolecall("refresh", ok=1)
    report = box.json("history")[0]
    assert report["seconds"] > 2, "the try itself is a part of the run"
    node = open_node(load_settings(box.machine.config))
    failures = failures_of(node, report["generation"], report["document"])
    passed = boot.uptime() - report["uptime"]
    assert len(failures) == 1
    assert 60 - passed - on_this_machine(5) < remaining_pause(failures) <= 60, "not from its beginning on"


def test_runs_are_ordered_and_pauses_measured_whatever_the_clock_says(box: Box) -> None:
    box.product("blog", runtime="static")
    box.publish()
    box.boot()
    path = max((box.state / "reports").glob("*.json"))
    ahead = json.loads(path.read_text()) | {"started": "2036-01-01T00:00:00.000+00:00"}
    path.write_text(json.dumps(ahead))
    box.product("blog", "2", runtime="static", health="down")
    box.publish()
    box.rolecall("refresh", ok=1)
    runs = box.json("history")
    assert [(run["number"], run["outcome"]) for run in runs] == [(2, "rolled back"), (1, "ready")]
    assert box.json("status")["last_run"]["number"] == 2
    # The failure, as a machine whose clock is ten years ahead would have kept it, and its clock put right since.
    failure = max((box.state / "reports").glob("*.json"))
    failure.write_text(json.dumps({**runs[0], "started": "2036-01-01T00:00:00.000+00:00"}))
    waiting = box.rolecall("refresh", ok=1).stderr
    assert f"the next try is at {datetime.now(UTC):%Y-%m-}" in waiting
    assert "2036" not in waiting
    assert "run 2: 1 of" in waiting, "the first error is not hidden"
    # Its pause is over by the time since the boot, and not by the clock; so it is after a reboot.
    for passing in ({"uptime": runs[0]["uptime"] - 61}, {"boot": "another one"}):
        failure.write_text(json.dumps({**runs[0], **passing, "started": "2036-01-01T00:00:00.000+00:00"}))
        assert remaining_pause([json.loads(failure.read_text())]) <= 0
    # Nor do lost reports begin the numbers anew.
    for report in (box.state / "reports").glob("*.json"):
        report.unlink()
    box.rolecall("refresh", "--resume", ok=1)
    assert box.json("history")[0]["number"] > 2


def test_a_baseline_machine_says_that_it_has_no_role_yet_and_is_of_its_role_once_it_has(box: Box) -> None:
    config = box.machine.config
    config.write_text(config.read_text().replace('role = "web"', 'role = "baseline"'))
    box.product("blog", runtime="static")
    box.publish()
    assert "has not installed its role yet" in box.rolecall("boot", ok=75).stderr
    causes = [(diagnosis["what"], diagnosis["remedy"]) for diagnosis in box.json("doctor", ok=1) if not diagnosis["ok"]]
    assert [("has not installed its role yet" in words, remedy) for words, remedy in causes] == [
        (True, "why: `journalctl -u rolecall-role`")
    ]
    box.state.mkdir(exist_ok=True)
    (box.state / "role.json").write_text('{"role": "web"}')
    box.boot()
    assert all(diagnosis["ok"] for diagnosis in box.json("doctor", ok=0))
    assert box.json("status", ok=0)["role"] == "web"
