"""The real readers of what a role writes: each takes text and tells what it understood."""

import getpass
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from database_servers import SERVER
from patience import on_this_machine
from rolecall.demo.folder_node import FolderNode

ENVIRONMENT = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
SHELLS = (("dash",), ("bash", "--posix"))  # /bin/sh of Debian, and of CentOS


def run(*argv: str, stdin: str = "", env: Mapping[str, str] = ENVIRONMENT) -> bytes:
    """A program's standard output; it has to succeed."""
    done = subprocess.run(argv, input=stdin.encode(), capture_output=True, env=env)
    assert done.returncode == 0, f"{argv}: {(done.stderr or done.stdout).decode(errors='replace')}"
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
    return run(*SERVER.print_defaults, f"--defaults-file={file}", group).decode().split("\n")[:-1]


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


def apache_hosts(node: FolderNode, vhosts: str) -> dict[str, list[str]]:
    """The virtual hosts as Apache has understood them: ServerName → aliases."""
    (node.root / "etc/apache2/conf-enabled/zz-rolecall.conf").write_text(vhosts)
    told = run(
        f"{node.root}/usr/sbin/apache2ctl", "-t", "-D", "DUMP_VHOSTS", env={**ENVIRONMENT, **node.environment()}
    ).decode()
    found: dict[str, list[str]] = {}
    for line in told.splitlines():
        if name := re.match(r"\s+(?:default server|port \d+ namevhost) (\S+) ", line):
            aliases = found.setdefault(name[1], [])
        elif alias := re.match(r"\s+alias (\S+)$", line):
            aliases.append(alias[1])
    return found


Row = list[str]


@contextmanager
def database_server(data: Path) -> Iterator[Callable[..., list[Row]]]:
    """A database server with this data; what it gives asks it, as its administrator, by its client's standard input."""
    socket = data.with_name(f"{data.name}.sock")
    argv = [SERVER.daemon, "--no-defaults", f"--datadir={data}", f"--socket={socket}", f"--user={getpass.getuser()}",
            f"--log-error={data}.log", "--skip-networking", "--innodb-buffer-pool-size=8M", *SERVER.options,
            "--innodb-flush-log-at-trx-commit=0", "--server-id=1"]  # fmt: skip

    def ask(statements: str, *options: str) -> list[Row]:
        words = (*options, "--batch", "--skip-column-names") if options else (
            "--no-defaults", f"--socket={socket}", "--user=root", "--batch", "--skip-column-names")  # fmt: skip
        told = run(SERVER.client, *words, stdin=statements).decode()
        return [line.split("\t") for line in told.split("\n")[:-1]]

    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as it:
        try:
            until = time.monotonic() + on_this_machine(60)
            while not socket.exists():
                assert (it.poll(), time.monotonic() < until) == (None, True), Path(f"{data}.log").read_text()
                time.sleep(0.05)
            yield ask
        finally:
            it.kill()


def environment_file(folder: Path, text: str) -> dict[str, str]:
    """systemd's reader of files with variables (load_env_file), by the one program that shows what it has read."""
    (folder / "environment.d").mkdir(exist_ok=True)
    (folder / "environment.d/one.conf").write_text(text)
    generator = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"
    told = run(generator, env={**ENVIRONMENT, "XDG_CONFIG_HOME": str(folder)}).decode()
    return dict(shlex.split(line)[0].split("=", 1) for line in told.splitlines())


def perl(script: str, *words: str) -> Any:
    """What a script prints, as JSON."""
    return json.loads(run("perl", "-MJSON::PP", "-e", script, *words))


MUNIN = """
use Munin::Master::Config;
my $read = Munin::Master::Config->instance->{config};
$read->parse_config_from_file($ARGV[0]);
my %found;
sub walk {
    my ($group, @path) = @_;
    my ($hosts, $groups) = map { $_ || {} } @$group{qw(hosts groups)};
    for my $name (keys %$hosts) {
        my $host = $hosts->{$name};
        $found{join ";", @path, $name} = {map { $_ => "$host->{$_}" } grep { !ref $host->{$_} } keys %$host};
    }
    walk($groups->{$_}, @path, $_) for keys %$groups;
}
walk($read);
print encode_json(\\%found);
"""


def munin(file: Path) -> dict[str, dict[str, str]]:
    """The servers that a Munin master knows: GROUP;GROUP;NAME → setting → value."""
    found: dict[str, dict[str, str]] = perl(MUNIN, str(file))
    return found


MUNIN_NODE = """
use Munin::Node::Config;
my $read = Munin::Node::Config->instance;
$read->parse_config_from_file($ARGV[0]);
print encode_json({fqdn => $read->{fqdn}, sconf => $read->{sconf}});
"""


def munin_node(file: Path) -> Any:
    """What a Munin node has read."""
    return perl(MUNIN_NODE, str(file))


def nagios(folder: Path, objects: str) -> dict[str, list[dict[str, str]]]:
    """The objects that Nagios has understood: kind → directive → value of each."""
    (folder / "objects.cfg").write_text(objects)
    user = getpass.getuser()
    own = {"cfg_file": "objects.cfg", "log_file": "log", "object_cache_file": "cache", "status_file": "status",
           "precached_object_file": "understood", "temp_file": "temp", "lock_file": "pid"}  # fmt: skip
    lines = [*(f"{key}={folder}/{name}" for key, name in own.items()), f"check_result_path={folder}",
             f"temp_path={folder}", f"nagios_user={user}", f"nagios_group={user}",
             "illegal_object_name_chars=`~!$%^&*|'\"<>?,()="]  # fmt: skip
    (folder / "nagios.cfg").write_text("\n".join(lines) + "\n")
    run("nagios4", "-v", "-p", str(folder / "nagios.cfg"))
    found: dict[str, list[dict[str, str]]] = {}
    for kind, body in re.findall(r"(?ms)^define (\w+) \{\n(.*?)^\t\}", (folder / "understood").read_text()):
        one = dict(line.strip("\t").split("\t", 1) for line in body.splitlines())
        found.setdefault(kind, []).append(one)
    return found
