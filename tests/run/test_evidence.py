"""What a failure looked like is kept before it is rolled back, without the values of secrets, for people to look at."""

import base64
import json
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from box import Box
from rolecall.host.redaction import Redaction

CANARY = 'c4n4ry "s/+ %&<>'
FORMS = (CANARY, quote(CANARY, safe=""), base64.b64encode(f"user:{CANARY}".encode()).decode(), json.dumps(CANARY))
PAGE = """<?php
http_response_code(500);
header('Set-Cookie: session=s3ss10n');
error_log('new trouble with ' . $_SERVER['PASSWORD']);
echo "broken\\x1b[31m: ", $_SERVER['PASSWORD'], ' ', rawurlencode($_SERVER['PASSWORD']), ' ',
  base64_encode('user:' . $_SERVER['PASSWORD']), str_repeat(' filler', 20000);
"""
OLD = "<?php error_log('old trouble'); echo 'ok';"


def traces(text: str) -> list[str]:
    """The forms of the secret that a text has."""
    return [form for form in (*FORMS, "c4n4ry", "s3ss10n") if form in text]


@pytest.fixture(scope="module")
def failed(module_box: Box) -> Box:
    """A node that has rolled back a release whose page answers 500 with a secret in its body."""
    box = module_box
    box.machine.config.write_text(
        box.machine.config.read_text().replace('selftest_deadline = "5s"', 'selftest_deadline = "4s"')
        + "\n[keep]\nreports = 2\n"
    )
    secret = box.machine.root / "etc/rolecall/pw"
    secret.touch(0o600)
    secret.write_text(CANARY + "\n")
    checks = [{"http": "/page.php", "contains": "ok"}]
    box.product("blog", secrets={"PASSWORD": f"file:{secret}"}, checks=checks)
    publish(box, "1", OLD)
    box.boot()
    publish(box, "2", PAGE)
    box.rolecall("refresh", ok=1)
    return box


def publish(box: Box, version: str, page: str) -> None:
    box.document["products"]["blog"]["release"] = box.release("blog", version, {"public/page.php": page})
    box.publish()


def evidence_files(box: Box) -> list[Path]:
    return sorted((box.state / "reports").glob("*.evidence.json"))


def test_a_roll_back_leaves_the_answer_the_lines_logged_since_the_switch_and_the_diff(failed: Box) -> None:
    run = failed.json("history", "2")
    assert (run["report"]["outcome"], run["report"]["number"]) == ("rolled back", 2)
    evidence = run["evidence"]
    [page] = evidence["pages"]
    assert (page["check"], page["product"]) == ("blog: GET /page.php", "blog")
    assert page["head"]["text"].startswith("HTTP/1.1 500 Internal Server Error\n")
    assert "Set-Cookie: <left out>" in page["head"]["text"]
    assert page["body"]["text"].startswith("broken\\x1b[31m: <secret> <secret> ")
    assert page["body"]["cut"] > 100_000
    lines = "".join(log["lines"]["text"] for log in evidence["logs"])
    assert "new trouble with <secret>" in lines
    log = (failed.machine.root / "var/log/apache2/products/blog-error.log").read_text()
    assert "old trouble" in log.partition("new trouble")[0], "or the next line would prove nothing"
    assert "old trouble" not in lines.partition("new trouble")[0]
    assert "-  SetEnv" in evidence["diff"]["text"] or "+++ b/apache/50-blog.conf" in evidence["diff"]["text"]


def test_no_form_of_a_secret_is_in_the_evidence_the_report_or_what_goes_to_the_store(failed: Box) -> None:
    [path] = evidence_files(failed)
    status = path.stat()
    assert (status.st_mode & 0o777, status.st_size < 256 * 1024) == (0o600, True)
    kept = [file.read_text() for file in (failed.state / "reports").iterdir()]
    sent = (failed.machine.store / "reports/web1.json").read_text()
    assert [traces(text) for text in (*kept, sent)] == [[]] * (len(kept) + 1)
    assert "new trouble" not in sent


def test_history_numbers_the_runs_marks_those_with_evidence_and_shows_one_whole(failed: Box) -> None:
    head, newest, oldest = failed.rolecall("history").stdout.splitlines()
    assert (head.split()[0], newest.split()[0], oldest.split()[0]) == ("run", "2", "1")
    assert ("(with evidence)" in newest, "(with evidence)" in oldest) == (True, False)
    assert [run["evidence"] for run in failed.json("history")] == [True, False]
    text = failed.rolecall("history", "2").stdout
    places = [
        text.index(words)
        for words in (
            "run 2: refresh, rolled back",
            "✗ FAIL",
            "hint: ",
            "HTTP/1.1 500",
            "Set-Cookie",
            "more were not kept",
        )
    ]
    assert places == sorted(places)
    assert "new trouble with <secret>" in text
    assert failed.json("history", "1")["evidence"] is None
    unknown = failed.rolecall("history", "7", ok=1).stderr
    assert "there is no report of run 7" in unknown
    assert "there are reports of: 1, 2" in unknown


def test_reports_that_cannot_be_written_hinder_no_roll_back(failed: Box) -> None:
    reports = failed.state / "reports"
    shutil.copytree(reports, kept := failed.state / "kept")
    for path in evidence_files(failed):
        # A folder that is not empty, in the place of the file that is written first: as good as a full disk.
        path.unlink()
    number = failed.json("history")[0]["number"] + 1
    blocked = reports / f".run-{number:08}-refresh.evidence.json.new"
    blocked.mkdir()
    (blocked / "file").touch()
    publish(failed, "3", PAGE)
    done = failed.rolecall("refresh", ok=1)
    shutil.rmtree(blocked, ignore_errors=True)
    assert "rolled back" in done.stdout
    assert "the evidence of the failure could not be kept: " in done.stderr
    assert failed.get("blog.example.com", "/page.php")[2] == "ok"
    shutil.rmtree(reports)
    os.rename(kept, reports)


def test_what_a_daemon_says_when_it_fails_is_told_without_the_secrets_that_it_was_given(failed: Box) -> None:
    control = failed.machine.root / "usr/sbin/apache2ctl"
    whole = control.read_text()
    shown = f"grep -rh PASSWORD {failed.state}/generations >&2"
    control.write_text(
        whole.replace("exec ", f'case "$*" in *-t*) {shown}; echo the end >&2; exit 1 ;; esac; exec ', 1)
    )
    publish(failed, "7", OLD + " // once more")
    done = failed.rolecall("refresh", "--json", ok=1)
    control.write_text(whole)
    assert "<secret>" in json.loads(done.stdout)["error"], "or nothing was said that a secret could be in"
    kept = [file.read_text() for file in (failed.state / "reports").iterdir()]
    sent = (failed.machine.store / "reports/web1.json").read_text()
    told = (done.stdout, done.stderr, *kept, sent)
    assert [traces(text) for text in told] == [[]] * len(told)


def test_evidence_goes_with_its_report(failed: Box) -> None:
    publish(failed, "4", PAGE)
    failed.rolecall("refresh", ok=1)
    publish(failed, "5", OLD)
    failed.rolecall("refresh")
    publish(failed, "6", OLD + " // changed")
    failed.rolecall("refresh")
    runs = failed.json("history")
    assert [run["evidence"] for run in runs] == [False, False]
    assert evidence_files(failed) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_text_that_is_cut_within_a_secret_keeps_no_part_of_it(form: str) -> None:
    redaction = Redaction([CANARY])
    assert traces(redaction.redacted(f"before {form} after")) == []
    bare: Any = form.strip('"')
    for length in range(6, len(bare)):
        assert "c4n4r" not in redaction.redacted(f"before {bare[:length]}", cut_off=True)
