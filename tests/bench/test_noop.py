"""The common run, every minute on every machine: it changes nothing, loads nothing, costs little, misses nothing."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from box import ROLECALL, ROOT, Box

HEAVY = {"jinja2", "requests", "boto3", "botocore", "pydantic", "rich", "psutil"}
# What a refresh with nothing to do may load on top of a bare interpreter: itself, and not one module more.
ALLOWED = {"rolecall", "rolecall.__main__", "rolecall.shortcut", "rolecall.shortcut.stamps"}
PASSWORD = "the first password"


@pytest.fixture(scope="module")
def node() -> Iterator[Box]:
    """A node that has booted, with its own copy of the roles and a secret; each test leaves it well."""
    folder = Path(tempfile.mkdtemp(prefix="rc-"))
    folder.chmod(0o755)
    made = Box(folder)
    made.env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    config, roles, secret = made.machine.config, folder / "srv/roles", folder / "etc/rolecall/password"
    shutil.copytree(ROOT / "templates", roles)
    text = config.read_text().replace("[paths]\n", f'[paths]\ntemplates = "{roles}"\n')
    config.write_text(text.replace('selftest_deadline = "5s"', 'selftest_deadline = "4s"'))
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    try:
        made.product("blog", secrets={"DB_PASSWORD": f"file:{secret}"})
        made.product("video", runtime="static")
        made.publish()
        made.boot()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def refresh(node: Box, ok: bool | int = True) -> str:
    """What a refresh says; '' if nothing had moved."""
    done = node.rolecall("refresh", ok=ok)
    return done.stdout + done.stderr


def everything(*folders: Path) -> dict[str, object]:
    """Every file, folder and link below: its content and all that stat(2) tells, but for the time it was read."""
    found: dict[str, object] = {}
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            s = path.lstat()
            stat = (s.st_mode, s.st_ino, s.st_nlink, s.st_uid, s.st_gid, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
            found[str(path)] = stat, content
    return found


# --- it changes nothing --------------------------------------------------------------------------------------------
def test_a_refresh_without_news_leaves_the_whole_node_and_the_store_as_they_were(node: Box) -> None:
    root = node.machine.root
    assert refresh(node) == ""
    parts = [root / name for name in ("etc", "run", "srv", "usr", "var/lib")]
    before = everything(*parts)
    for _ in range(3):
        assert refresh(node) == ""
    assert everything(*parts) == before
    assert len(before) > 100


def test_a_refresh_without_news_asks_the_kernel_for_nothing_that_writes(node: Box) -> None:
    if not (strace := shutil.which("strace")):
        pytest.skip("strace is not installed")
    assert refresh(node) == ""
    trace = node.machine.root / "var/trace"
    words = [*ROLECALL, "refresh", "--config", str(node.machine.config)]
    assert subprocess.run(words, env=node.env).returncode == 0, "its bytecode is there from now on"
    argv = [strace, "-f", "-qq", "-e", "trace=file,desc,process,network", "-o", str(trace), *words]
    done = subprocess.run(argv, env=node.env, capture_output=True, text=True)
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip(f"strace cannot trace here: {done.stderr.strip()}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    calls = trace.read_text().splitlines()
    trace.unlink()
    names = [match[1] for line in calls if (match := re.match(r"\d+ +(\w+)\(", line))]
    opened = [line for line in calls if re.match(r"\d+ +open", line)]
    assert not [line for line in opened if re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", line)]
    writing = re.compile(
        r"p?write|send|f?truncate|f?chmod|[lf]?chown|mk|(sym|un)?link|rmdir|rename|utime|futim|fallocate|f?setxattr"
    )
    assert not [name for name in names if writing.match(name)]
    assert not {"clone", "clone3", "fork", "vfork", "socket", "connect", "flock"} & set(names)
    assert names.count("execve") == 1
    print(f"\nno-op: {len(names)} system calls on files, {len(opened)} opened, {names.count('newfstatat')} looked at")


# --- it loads nothing ----------------------------------------------------------------------------------------------
def modules(node: Box, code: str) -> set[str]:
    argv = [sys.executable, "-c", code, "refresh", "--config", str(node.machine.config)]
    done = subprocess.run(argv, env=node.env, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_refresh_without_news_loads_no_module_but_its_own(node: Box) -> None:
    assert refresh(node) == ""
    tell = "import sys\n{}\nprint(*sorted(sys.modules))"
    bare = modules(node, tell.format(""))
    loaded = modules(node, tell.format("from rolecall.__main__ import main\nassert main() == 0"))
    assert not HEAVY & loaded
    assert loaded - bare == ALLOWED
    commands = modules(node, tell.format("import rolecall.cli.node_commands"))
    assert commands >= {"pydantic", "json"}, "the probe sees nothing"


# --- it costs next to nothing --------------------------------------------------------------------------------------
def cpu(node: Box, *argv: str) -> float:
    """User and system seconds of a program."""
    pid = os.posix_spawn(argv[0], argv, node.env, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, used = os.wait4(pid, 0)
    assert status == 0, argv
    return used.ru_utime + used.ru_stime


def test_a_refresh_without_news_costs_little_more_than_an_interpreter_that_does_nothing(
    node: Box, record_property: Callable[[str, object], None]
) -> None:
    assert refresh(node) == ""
    words = ("refresh", "--config", str(node.machine.config))
    script = "import sys; from rolecall.__main__ import main; sys.exit(main())"
    ways = {
        "python -m rolecall refresh": (*ROLECALL, *words),
        "its entry point": (sys.executable, "-c", script, *words),
    }
    for name, argv in ways.items():
        pairs = [(cpu(node, *argv), cpu(node, sys.executable, "-c", "pass")) for _ in range(25)]
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        own, bare = (statistics.median(one) * 1000 for one in zip(*pairs, strict=True))
        print(f"\n{name}: {ratio:.2f} times `python -c pass` ({own:.1f} and {bare:.1f} ms of CPU)", end="")
        record_property(f"noop ratio, {name}", round(ratio, 3))
        assert ratio < 3
    print()


# --- it misses nothing ---------------------------------------------------------------------------------------------
def a_document_with_news(node: Box) -> str:
    node.document["products"]["blog"]["environment"] = {"NEWS": str(node.document["serial"])}
    node.publish()
    return "reload apache"


def settings_that_were_touched(node: Box) -> str:
    with node.machine.config.open("a") as config:
        config.write("# a remark\n")
    return "unchanged: "


def an_identity_file_that_was_written_again(node: Box) -> str:
    path = node.machine.root / "etc/rolecall/identity.json"
    path.write_bytes(path.read_bytes())
    return "unchanged: "


def settings_behind_a_link_that_were_touched(node: Box) -> str:
    config = node.machine.config
    target = config.rename(config.with_name("agent.toml.target"))
    config.symlink_to(target.name)
    assert "unchanged: " in refresh(node)
    assert refresh(node) == ""
    os.utime(target)
    return "unchanged: "


def a_secret_with_another_value(node: Box) -> str:
    secret = node.machine.root / "etc/rolecall/password"
    secret.write_text(f"the password of {time.time()}")
    return "reload apache"


def a_template_that_was_edited(node: Box) -> str:
    with (node.machine.root / "srv/roles/web/vhost.conf.j2").open("a") as template:
        template.write("# a remark\n")
    return "reload apache"


def a_file_of_the_generation_that_was_edited(node: Box) -> str:
    (node.state / "current/apache/50-blog.conf").write_text("Require all denied\n")
    return "repaired apache/50-blog.conf"


def a_file_of_the_generation_that_keeps_its_size_and_time(node: Box) -> str:
    path = node.state / "current/apache/00-base.conf"
    stat = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"#")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return "repaired apache/00-base.conf"


def a_file_of_the_generation_that_was_deleted(node: Box) -> str:
    (node.state / "current/php-fpm/blog.conf").unlink()
    return "reload php-fpm"


def a_folder_of_the_generation_that_was_deleted(node: Box) -> str:
    shutil.rmtree(node.state / "current/apache")
    return "reload apache"


def a_file_of_the_generation_with_another_mode(node: Box) -> str:
    (node.state / "current/apache/50-blog.conf").chmod(0o644)
    return "repaired apache/50-blog.conf"


def a_file_too_many_in_the_generation(node: Box) -> str:
    (node.state / "current/apache/99-own.conf").write_text("ServerAdmin me\n")
    return "repaired apache/99-own.conf"


def a_link_current_to_an_older_generation(node: Box) -> str:
    older = next(path for path in (node.state / "generations").iterdir() if path != (node.state / "current").resolve())
    repoint(node.state / "current", f"generations/{older.name}")
    return "commit"


def a_link_current_that_was_deleted(node: Box) -> str:
    (node.state / "current").unlink()
    return "unchanged: "


def a_link_ready_to_an_older_generation(node: Box) -> str:
    older = next(path for path in (node.state / "generations").iterdir() if path != (node.state / "current").resolve())
    repoint(node.state / "ready", f"generations/{older.name}")
    return "ready: "


def a_link_ready_that_was_deleted(node: Box) -> str:
    (node.state / "ready").unlink()
    return "ready: "


def a_release_that_was_deleted(node: Box) -> str:
    shutil.rmtree(next(path for path in (node.state / "releases/blog").iterdir() if path.is_dir()))
    return "unpacked blog"


def a_page_of_a_release_that_was_defaced(node: Box) -> str:
    next((node.state / "releases/blog").glob("*/public/index.php")).write_text("<?php echo 'pwned';")
    return "repaired release blog"


def a_file_too_many_in_a_release(node: Box) -> str:
    next((node.state / "releases/blog").glob("*/public")).joinpath("shell.php").write_text("?")
    return "repaired release blog"


def what_apache_has_loaded_forgotten(node: Box) -> str:
    (node.machine.run / "loaded/apache").unlink()
    return "reload apache"


def everything_in_the_run_folder_forgotten(node: Box) -> str:
    shutil.rmtree(node.machine.run)
    return "reload php-fpm, reload apache"


def the_last_verified_document_deleted(node: Box) -> str:
    (node.state / "fleet/verified.json").unlink()
    return "unchanged: "


def an_account_that_was_deleted(node: Box) -> str:
    passwd = node.machine.root / "etc/passwd"
    if not passwd.exists():
        pytest.skip("only root makes accounts")
    passwd.write_text("".join(line for line in passwd.read_text().splitlines(True) if "product video" not in line))
    group = node.machine.root / "etc/group"
    group.write_text("".join(line for line in group.read_text().splitlines(True) if not line.startswith("p-video:")))
    return "unchanged: "


MOVES = [
    a_document_with_news, settings_that_were_touched, settings_behind_a_link_that_were_touched,
    an_identity_file_that_was_written_again,
    a_secret_with_another_value, a_template_that_was_edited, a_file_of_the_generation_that_was_edited,
    a_file_of_the_generation_that_keeps_its_size_and_time, a_file_of_the_generation_that_was_deleted,
    a_folder_of_the_generation_that_was_deleted, a_file_of_the_generation_with_another_mode,
    a_file_too_many_in_the_generation, a_link_current_to_an_older_generation, a_link_current_that_was_deleted,
    a_link_ready_to_an_older_generation, a_link_ready_that_was_deleted, a_release_that_was_deleted,
    a_page_of_a_release_that_was_defaced, a_file_too_many_in_a_release,
    what_apache_has_loaded_forgotten, everything_in_the_run_folder_forgotten, the_last_verified_document_deleted,
    an_account_that_was_deleted,
]  # fmt: skip


@pytest.mark.parametrize("move", MOVES)
def test_whatever_moves_is_seen_by_the_next_refresh_and_put_right(node: Box, move: Callable[[Box], str]) -> None:
    refresh(node)
    assert refresh(node) == ""
    expected = move(node)
    assert expected in refresh(node)
    assert refresh(node) == "", "well again, so there is nothing to do"
    state, password = node.state, (node.machine.root / "etc/rolecall/password").read_text()
    assert os.readlink(state / "current") == os.readlink(state / "ready")
    assert f'DB_PASSWORD "{password}"' in (state / "current/apache/50-blog.conf").read_text()
    assert not list((state / "current/").glob("*/99-own.conf"))
    assert json.loads((state / "fleet/verified.json").read_text())["serial"] == node.document["serial"]
    status, headers, text = node.get("blog.example.com")
    assert (status, text.split()[1]) == (200, f"config={headers['X-Rolecall-Config']}")


def test_a_machine_that_is_told_to_be_another_one_says_so_and_goes_on_as_it_was(node: Box) -> None:
    identity = node.machine.root / "etc/rolecall/identity.json"
    before = identity.read_text()
    refresh(node)
    identity.write_text('{"server": "nobody"}')
    assert "nobody" in refresh(node, ok=78)
    assert "nobody" in refresh(node, ok=78), "a refusal is no state of rest"
    assert node.get("blog.example.com")[0] == 200
    identity.write_text(before)
    assert "unchanged: " in refresh(node)
    assert refresh(node) == ""


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("# nothing\n")], ids=["removed", "edited"])
def test_an_attachment_that_is_not_in_place_is_named(node: Box, spoil: Callable[[Path], object]) -> None:
    attachment = node.machine.root / "etc/apache2/conf-enabled/zz-rolecall.conf"
    before = attachment.read_text()
    refresh(node)
    spoil(attachment)
    assert str(attachment) in refresh(node, ok=1)
    attachment.write_text(before)
    assert "passed" in refresh(node)
    assert refresh(node) == ""


def test_after_a_while_a_refresh_looks_at_everything_all_the_same(node: Box) -> None:
    config = node.machine.config
    before = config.read_text()
    config.write_text(f'{before}\n[refresh]\nfull_every = "1s"\n')
    assert "unchanged: " in refresh(node)
    time.sleep(1.1)
    assert "unchanged: " in refresh(node)
    config.write_text(before)
    refresh(node)
    assert refresh(node) == ""


def test_a_clock_that_was_set_back_makes_a_refresh_look_at_everything(node: Box) -> None:
    refresh(node)
    record = node.machine.run / "steady"
    (start, end), rest = record.read_text().splitlines()[0].split(), record.read_text().splitlines()[1:]
    record.write_text("\n".join([f"{float(start) + 600} {float(end) + 600}", *rest, ""]))
    assert "unchanged: " in refresh(node)
    assert refresh(node) == ""


@pytest.mark.parametrize(
    ("when", "move"),
    [
        ("fetch", a_document_with_news),
        ("self-test", a_document_with_news),
        ("self-test", a_secret_with_another_value),
        ("self-test", a_template_that_was_edited),
        ("self-test", settings_that_were_touched),
    ],
)
def test_what_moves_during_a_run_is_not_missed_by_the_next_one(
    node: Box, when: str, move: Callable[[Box], str]
) -> None:
    refresh(node)
    what_apache_has_loaded_forgotten(node)
    argv, expected = [*ROLECALL, "refresh", "--config", str(node.machine.config)], ""
    with subprocess.Popen(argv, env=node.env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
        assert run.stderr
        for line in run.stderr:
            if when in line and not expected:
                expected = move(node)
    assert run.returncode == 0
    assert expected in refresh(node)
    assert refresh(node) == ""


def test_a_roll_back_that_is_held_is_a_state_of_rest_until_there_is_news(node: Box) -> None:
    a_document_with_news(node)
    refresh(node)
    older = node.json("rollback")["current"]
    assert "held" in refresh(node)
    assert refresh(node) == ""
    a_document_with_news(node)
    assert "ready: " in refresh(node)
    assert older not in os.readlink(node.state / "current")
    assert refresh(node) == ""


def test_a_generation_whose_manifest_is_damaged_serves_on_and_is_made_whole_in_its_place(node: Box) -> None:
    refresh(node)
    manifest = (node.state / "current").resolve() / "generation.json"
    before, folder = manifest.read_bytes(), manifest.parent.stat().st_ino
    manifest.write_text("{}")
    message = f"{manifest} cannot be read: it has format None"
    assert message in node.rolecall("doctor", ok=1).stdout
    assert message in refresh(node)
    assert (manifest.read_bytes(), manifest.parent.stat().st_ino) == (before, folder)
    assert node.get("blog.example.com")[0] == 200
    assert refresh(node) == ""
    assert node.json("status")["healthy"]


def test_fifty_runs_in_a_row_leave_nothing_behind(node: Box) -> None:
    config, keep = node.machine.config, 2
    before = config.read_text()
    config.write_text(f"{before}\n[keep]\ngenerations = {keep}\nreports = 3\n")
    folders = {"state": node.state, "run": node.machine.run, "store": node.machine.store}

    def listing() -> dict[str, list[str]]:
        return {
            name: sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "generations/" not in str(path))
            for name, folder in folders.items()
        }

    for round_ in range(3):  # fill what is kept
        node.document["products"]["blog"]["environment"] = {"ROUND": str(round_)}
        node.publish()
        refresh(node)
    names = [path.name for path in (node.state / "reports").iterdir()]
    start = listing()
    for number in range(50):
        if number % 20 == 0:
            node.document["products"]["blog"]["environment"] = {"ROUND": f"again {number}"}
            node.publish()
        if number % 20 == 10:
            (node.machine.run / "steady").unlink()
        assert bool(refresh(node)) == (number % 10 == 0)
    end = listing()
    assert len(end["state"]) == len(start["state"])
    assert (end["run"], end["store"]) == (start["run"], start["store"])
    generations = [path.name for path in (node.state / "generations").iterdir()]
    assert len(generations) == keep, generations
    assert len(list((node.state / "reports").iterdir())) == len(names) == 3
    config.write_text(before)
    refresh(node)


def repoint(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)
