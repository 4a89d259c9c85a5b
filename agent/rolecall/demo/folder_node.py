"""A node in a folder: what a distribution would have put on a web server, below one root, on loopback ports.

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

# The command that the story runs: as it was installed, with the libraries beside it, or this interpreter's module.
PROGRAM = (sys.argv[0],) if os.path.basename(sys.argv[0]) == "rolecall" else (sys.executable, "-m", "rolecall")

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


_FOLDERS = (
    "etc/apache2/conf-enabled etc/php/8.2/fpm/pool.d etc/cron.d etc/logrotate.d etc/munin etc/rolecall "
    "run/apache2 run/php run/rolecall usr/sbin var/log/apache2 var/lib srv/store/releases"
).split()


@dataclass(frozen=True)
class FolderNode:
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
        environment = {"PATH": path, "NO_PROXY": "*"}
        if self.as_root:
            environment |= {
                "LD_PRELOAD": nss_wrapper(),
                "NSS_WRAPPER_PASSWD": f"{self.root}/etc/passwd",
                "NSS_WRAPPER_GROUP": f"{self.root}/etc/group",
            }
        return environment


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
    """A loopback port that is free, below the range from which outgoing connections take theirs (32768 and up)."""
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
) -> FolderNode:
    """Lay out the node: the distribution's part of the configuration, and the agent's settings."""
    if missing := missing_programs():
        raise HostFault(f"programs are missing: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")
    node = FolderNode(root, port or free_port(), os.geteuid() == 0)
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    for name in ("passwd", "group", "shadow", "gshadow") if node.as_root else ():
        source = Path("/etc") / name
        target = root / "etc" / name
        target.touch(mode=0o600 if "shadow" in name else 0o644)
        target.write_bytes(source.read_bytes() if source.exists() else b"")
    _apache(node)
    _php(node)
    (root / "etc/rolecall/identity.json").write_text(json.dumps({"server": server}))
    node.config.write_text(_settings(node, platform, settings))
    _scripts(node)
    return node


def _apache(node: FolderNode) -> None:
    root = node.root
    folder = next((folder for folder in _APACHE_MODULES if Path(folder).is_dir()), _APACHE_MODULES[0])
    modules = "\n".join(f"LoadModule {name}_module {folder}/mod_{name}.so" for name in _MODULES)
    user = "User www-data\nGroup www-data" if node.as_root else ""
    types = "TypesConfig /etc/mime.types" if Path("/etc/mime.types").exists() else "AddType text/html .html"
    (root / "etc/apache2/apache2.conf").write_text(f"""ServerRoot "{root}/etc/apache2"
PidFile {root}/run/apache2/apache2.pid
DefaultRuntimeDir {root}/run/apache2
ErrorLog {root}/var/log/apache2/error.log
ServerName localhost
{modules}
Listen 127.0.0.1:{node.port}
{user}
StartServers 1
ServerLimit 8
ThreadsPerChild 16
MaxRequestWorkers 128
GracefulShutdownTimeout 10
{types}
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
<Directory "/">
Require all denied
</Directory>
IncludeOptional {root}/etc/apache2/conf-enabled/*.conf
""")
    _program(
        root / "usr/sbin/apache2ctl", f'exec apache2 -d "{root}/etc/apache2" -f "{root}/etc/apache2/apache2.conf" "$@"'
    )


def _php(node: FolderNode) -> None:
    root = node.root
    (root / "etc/php/8.2/fpm/php-fpm.conf").write_text(f"""[global]
pid = {root}/run/php/php8.2-fpm.pid
error_log = {root}/var/log/php8.2-fpm.log
include={root}/etc/php/8.2/fpm/pool.d/*.conf
""")
    program = shutil.which("php-fpm8.2", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "/usr/sbin/php-fpm8.2"
    _program(root / "usr/sbin/php-fpm8.2", f'exec {program} -y "{root}/etc/php/8.2/fpm/php-fpm.conf" "$@"')


def _scripts(node: FolderNode) -> None:
    """For people: the node's environment for a shell, and a way to stop its daemons."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in node.environment().items()]
    program = shlex.join(PROGRAM)
    config = shlex.quote(str(node.config))
    lines.append(
        f'rolecall() {{ case $1 in fleet|demo) {program} "$@" ;; *) {program} "$@" --config {config} ;; esac; }}'
    )
    (node.root / "env.sh").write_text("\n".join(lines) + "\n")
    (node.root / "stop.sh").write_text(f"cd {shlex.quote(str(node.root))} && cat run/*/*.pid | xargs -r kill\n")


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _settings(node: FolderNode, platform: str, additions: str) -> str:
    root = node.root
    return f"""role = "web"
platform = "{platform}"
identity = ["file:{root}/etc/rolecall/identity.json"]
store = ["file://{root}/srv/store"]
readiness = ["systemd", "store", "textfile"]
service_manager = "direct"
accounts = "{"systemd-sysusers" if node.as_root else "none"}"

[trust]
unsigned = true

[paths]
root = "{root}"
state = "{node.state}"
run = "{node.run}"

[boot]
selftest_deadline = "5s"
metadata_timeout = "1s"

[names]
http_port = {node.port}
http_listen = "127.0.0.1"
{additions}
"""
