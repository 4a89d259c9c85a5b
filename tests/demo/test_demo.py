"""The demo tells its whole story on this machine, and leaves it as it was."""

import json
import os
import subprocess
from pathlib import Path

from box import ROLECALL


def demo(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ROLECALL, "demo", *words], capture_output=True, text=True, timeout=180)


def processes_of(folder: Path) -> list[str]:
    """The command lines that name a folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in line and path.parent.name != str(os.getpid()):
            lines.append(line)
    return lines


def test_the_story_is_told_to_its_end_and_every_process_is_stopped(folder: Path) -> None:
    accounts = Path("/etc/passwd").read_bytes()
    result = demo("--folder", str(folder / "demo"))
    assert result.returncode == 0, result.stdout + result.stderr
    for words in (
        "writes go to db1",
        "requests meanwhile, none lost",
        "writes go to db2",
        "34:11: products.blog.cron[0].schedule:",
        "products.blog.databses: unknown key — did you mean 'databases'?",
        "servers.web1.products[0]: there is no product 'blgo' — did you mean 'blog'?",
        "rolled back: generation",
        "nothing of blog is left",
        "of the boot budget of 20 min",
        "Every process is stopped.",
    ):
        assert words in result.stdout
    assert "\x1b" not in result.stdout, "plain lines where no terminal is"
    assert processes_of(folder) == []
    assert Path("/etc/passwd").read_bytes() == accounts


def test_with_keep_the_node_goes_on_and_its_scripts_work(folder: Path) -> None:
    root = folder / "demo"
    try:
        result = demo("--keep", "--json", "--folder", str(root))
        assert result.returncode == 0, result.stdout + result.stderr
        answer = json.loads(result.stdout)
        assert (answer["running"], answer["folder"], answer["store"]) == (True, str(root), f"{root}/srv/store")
        assert "release 1, writes go to db1" in "".join(next(iter(answer["chapters"].values())))
        shell = f". {root}/env.sh; rolecall status; rolecall fleet check {root}/srv/store/fleet.json"
        status = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=60)
        assert status.returncode == 0, status.stdout + status.stderr
        assert "web1: ready" in status.stdout
        assert "no mistakes" in status.stdout
    finally:
        subprocess.run(["sh", str(root / "stop.sh")], check=True, timeout=60)


def test_a_folder_that_is_not_empty_is_left_alone(folder: Path) -> None:
    (folder / "mine").write_text("mine")
    result = demo("--folder", str(folder))
    assert (result.returncode, "is not empty" in result.stderr) == (1, True)
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_missing_programs_are_named_with_the_command_that_installs_them(folder: Path) -> None:
    # In a namespace of its own, Apache is a file that nobody can run.
    hide = 'mount --bind /etc/passwd /usr/sbin/apache2 && exec "$@"'
    argv = ["unshare", "--map-root-user", "--mount", "sh", "-c", hide, "sh", *ROLECALL, "demo", "--folder", str(folder)]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (result.returncode, "hint: apt-get install apache2-bin" in result.stderr) == (1, True), result.stderr
