"""The real readers of what a role writes: each takes text and tells what it understood."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rolecall.demo.machine import Machine

ENVIRONMENT = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
SHELLS = (("dash",), ("bash", "--posix"))  # /bin/sh of Debian, and of CentOS


def run(*argv: str, stdin: str = "", env: Mapping[str, str] = ENVIRONMENT) -> bytes:
    """A program's standard output; it has to succeed."""
    done = subprocess.run(argv, input=stdin.encode(), capture_output=True, env=env)
    assert done.returncode == 0, f"{argv}: {done.stderr.decode(errors='replace')}"
    return done.stdout


def sh(shell: Sequence[str], script: Path, job: str, env: Mapping[str, str] = ENVIRONMENT) -> list[str]:
    """The NUL-ended words that a job of a job file writes."""
    *words, rest = run(*shell, str(script), job, env=env).decode().split("\0")
    assert not rest
    return words


def crontab(text: str) -> int:
    """cron's own reader accepts a table; how many jobs it holds."""
    run("crontab", "-n", "-", stdin=text)
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return sum(not re.match(r"[A-Za-z_]+\s*=", line) for line in lines)


def my_print_defaults(file: Path, group: str) -> list[str]:
    """The options of a group, as the MySQL programs get them."""
    return run("my_print_defaults", f"--defaults-file={file}", group).decode().split("\n")[:-1]


def php_fpm(file: Path) -> dict[str, dict[str, str]]:
    """The configuration as php-fpm has understood it: section → setting → value."""
    main = file.with_name(f"{file.name}.main")  # its log stays beside it: the usual one is root's
    main.write_text(f"[global]\nerror_log = {file}.log\ninclude = {file}\n")
    argv = ("php-fpm8.2", "-tt", "--allow-to-run-as-root", "-y", str(main))
    done = subprocess.run(argv, capture_output=True, env=ENVIRONMENT)
    words = done.stderr.decode()
    assert done.returncode == 0, words
    sections: dict[str, dict[str, str]] = {}
    for line in words.splitlines():
        _, _, told = line.partition("NOTICE: ")
        if section := re.fullmatch(r"\[(.*)\]", told):
            settings = sections[section[1]] = {}
        elif told.startswith("\t"):
            name, _, value = told[1:].partition(" = ")
            settings[name] = value
    return sections


def apache_hosts(machine: Machine, vhosts: str) -> dict[str, list[str]]:
    """The virtual hosts as Apache has understood them: ServerName → aliases."""
    (machine.root / "etc/apache2/conf-enabled/zz-rolecall.conf").write_text(vhosts)
    told = run(
        f"{machine.root}/usr/sbin/apache2ctl", "-t", "-D", "DUMP_VHOSTS", env={**ENVIRONMENT, **machine.environment()}
    ).decode()
    found: dict[str, list[str]] = {}
    for line in told.splitlines():
        if name := re.match(r"\s+(?:default server|port \d+ namevhost) (\S+) ", line):
            aliases = found.setdefault(name[1], [])
        elif alias := re.match(r"\s+alias (\S+)$", line):
            aliases.append(alias[1])
    return found
