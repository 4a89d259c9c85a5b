"""A machine in a folder: what a distribution would have put on a web server, below one root, on loopback ports.

The agent, Apache and php-fpm are the real ones. Programs that have their configuration at a fixed place get a wrapper
in `<root>/usr/sbin` that names the place below the root. As root, accounts are made in `<root>/etc/passwd` and seen by
the daemons through nss_wrapper, so that processes really run as their products' users and the system's own accounts
stay as they are; as an ordinary user everything runs as that user.
"""

import json
import os
import shlex
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from rolecall.errors import HostFault

# The program that is told to run: as it was installed, with the libraries beside it, or this interpreter's module.
MYSELF = (sys.argv[0],) if os.path.basename(sys.argv[0]) == "rolecall" else (sys.executable, "-m", "rolecall")

_MODULES = (
    "mpm_event authn_core authz_core authz_host env headers alias dir mime setenvif rewrite proxy proxy_fcgi deflate "
    "filter expires remoteip status"
).split()
_APACHE_MODULES = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules")
_NSS_WRAPPER = (
    "/usr/lib/x86_64-linux-gnu/libnss_wrapper.so",
    "/usr/lib/aarch64-linux-gnu/libnss_wrapper.so",
    "/usr/lib64/libnss_wrapper.so",
)
_PROGRAMS = {
    "apache2": "apache2-bin",
    "php-fpm8.2": "php8.2-fpm",
    "crontab": "cron",
    "logrotate": "logrotate",
    "systemd-tmpfiles": "systemd",
    "unshare": "util-linux",
}


@dataclass(frozen=True)
class Machine:
    """A node below `root` whose store is the folder `store`."""

    root: Path
    port: int
    as_root: bool

    @property
    def config(self) -> Path:
        """Its agent.toml."""
        return self.root / "etc/rolecall/agent.toml"

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.root / "var/lib/rolecall"

    @property
    def run(self) -> Path:
        """Its run folder."""
        return self.root / "run/rolecall"

    @property
    def store(self) -> Path:
        """The folder that stands for the bucket."""
        return self.root / "srv/store"

    def environment(self) -> dict[str, str]:
        """What the agent and its daemons have to be started with."""
        path = f"{self.root}/usr/sbin:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        made = {"PATH": path, "NO_PROXY": "*"}
        if self.as_root:
            made |= {
                "LD_PRELOAD": nss_wrapper(),
                "NSS_WRAPPER_PASSWD": f"{self.root}/etc/passwd",
                "NSS_WRAPPER_GROUP": f"{self.root}/etc/group",
            }
        return made


def missing_programs() -> list[str]:
    """The packages whose programs are not there, as Debian calls them."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = {package for program, package in _PROGRAMS.items() if not shutil.which(program, path=path)}
    if os.geteuid() == 0 and not nss_wrapper():
        missing.add("libnss-wrapper")
    return sorted(missing)


def nss_wrapper() -> str:
    """Where the library is, or ''."""
    return next((path for path in _NSS_WRAPPER if Path(path).exists()), "")


def free_port(first: int = 18080) -> int:
    """A loopback port that nobody has, below the range that outgoing connections take theirs from (32768)."""
    for port in range(first, first + 500):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise HostFault(f"no free port from {first} on 127.0.0.1")


def build(
    root: Path, *, server: str = "web1", settings: str = "", port: int | None = None, platform: str = "debian"
) -> Machine:
    """Lay out the machine: the distribution's part of the configuration, and the agent's settings."""
    if missing := missing_programs():
        raise HostFault(f"programs are missing: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")
    machine = Machine(root, port or free_port(), os.geteuid() == 0)
    for folder in ("etc/apache2/conf-enabled", "etc/php/8.2/fpm/pool.d", "etc/cron.d", "etc/logrotate.d", "etc/munin",
                   "etc/rolecall", "run/apache2", "run/php", "run/rolecall", "usr/sbin", "var/log/apache2",
                   "var/lib", "srv/store/releases"):  # fmt: skip
        (root / folder).mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    for name in ("passwd", "group", "shadow", "gshadow") if machine.as_root else ():
        source = Path("/etc") / name
        target = root / "etc" / name
        target.touch(mode=0o600 if "shadow" in name else 0o644)
        target.write_bytes(source.read_bytes() if source.exists() else b"")
    _apache(machine)
    _php(machine)
    (root / "etc/rolecall/identity.json").write_text(json.dumps({"server": server}))
    machine.config.write_text(_settings(machine, platform, settings))
    _scripts(machine)
    return machine


def _apache(machine: Machine) -> None:
    root = machine.root
    folder = next((one for one in _APACHE_MODULES if Path(one).is_dir()), _APACHE_MODULES[0])
    modules = [f"LoadModule {name}_module {folder}/mod_{name}.so" for name in _MODULES]
    (root / "etc/apache2/apache2.conf").write_text("\n".join([
        f'ServerRoot "{root}/etc/apache2"', f"PidFile {root}/run/apache2/apache2.pid",
        f"DefaultRuntimeDir {root}/run/apache2", f"ErrorLog {root}/var/log/apache2/error.log", "ServerName localhost",
        *modules, f"Listen 127.0.0.1:{machine.port}",
        *(("User www-data", "Group www-data") if machine.as_root else ()),
        "StartServers 1", "ServerLimit 8", "ThreadsPerChild 16", "MaxRequestWorkers 128", "GracefulShutdownTimeout 10",
        "TypesConfig /etc/mime.types" if Path("/etc/mime.types").exists() else "AddType text/html .html",
        'LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{Referer}i\\" \\"%{User-Agent}i\\"" combined',
        '<Directory "/">', "Require all denied", "</Directory>",
        f"IncludeOptional {root}/etc/apache2/conf-enabled/*.conf", "",
    ]))  # fmt: skip
    _program(root / "usr/sbin/apache2ctl",
             f'exec apache2 -d "{root}/etc/apache2" -f "{root}/etc/apache2/apache2.conf" "$@"')  # fmt: skip


def _php(machine: Machine) -> None:
    root = machine.root
    (root / "etc/php/8.2/fpm/php-fpm.conf").write_text("\n".join([
        "[global]", f"pid = {root}/run/php/php8.2-fpm.pid", f"error_log = {root}/var/log/php-fpm.log",
        f"include={root}/etc/php/8.2/fpm/pool.d/*.conf", "",
    ]))  # fmt: skip
    program = shutil.which("php-fpm8.2", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "/usr/sbin/php-fpm8.2"
    _program(root / "usr/sbin/php-fpm8.2", f'exec {program} -y "{root}/etc/php/8.2/fpm/php-fpm.conf" "$@"')


def _scripts(machine: Machine) -> None:
    """For people: the node's environment for a shell, and a way to stop its daemons."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in machine.environment().items()]
    program = shlex.join(MYSELF)
    config = shlex.quote(str(machine.config))
    lines.append(
        f'rolecall() {{ case $1 in fleet|demo) {program} "$@" ;; *) {program} "$@" --config {config} ;; esac; }}'
    )
    (machine.root / "env.sh").write_text("\n".join(lines) + "\n")
    (machine.root / "stop.sh").write_text(f"cd {shlex.quote(str(machine.root))} && cat run/*/*.pid | xargs -r kill\n")


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _settings(machine: Machine, platform: str, more: str) -> str:
    root = machine.root
    return f"""role = "web"
platform = "{platform}"
identity = ["file:{root}/etc/rolecall/identity.json"]
store = ["file://{root}/srv/store"]
readiness = ["systemd", "store", "textfile"]
service_manager = "direct"
accounts = "{"systemd-sysusers" if machine.as_root else "none"}"

[trust]
unsigned = true

[paths]
root = "{root}"
state = "{machine.state}"
run = "{machine.run}"

[boot]
selftest_deadline = "5s"
metadata_timeout = "1s"

[names]
http_port = {machine.port}
http_listen = "127.0.0.1"
{more}
"""
