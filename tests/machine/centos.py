"""A Debian in the shape of a CentOS: its release file, paths, programs' names, accounts and units, its Python, our RPM.

What an image of the role `web` meets on a CentOS, as far as the role and the agent look: /etc/httpd with httpd.service,
/etc/php-fpm.d, crond with a dry run called -T, /etc/my.cnf.d, /etc/sysconfig. The binaries are Debian's, but for a
Python 3.12 of this machine. That has no systemd module (Debian's is for 3.11): the agent does without it.
"""

import shutil
from pathlib import Path

from roots import python312, sh, write

OS_RELEASE = """NAME="CentOS Stream"
VERSION="10 (Coughlan)"
ID="centos"
ID_LIKE="rhel fedora"
VERSION_ID="10"
PLATFORM_ID="platform:el10"
"""
HTTPD_CONF = """ServerRoot "/etc/httpd"
ServerName localhost
Listen 80
Include conf.modules.d/*.conf
User apache
Group apache
<Directory />
    AllowOverride none
    Require all denied
</Directory>
DocumentRoot "/var/www/html"
<IfModule dir_module>
    DirectoryIndex index.html
</IfModule>
ErrorLog "logs/error_log"
LogLevel warn
LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{Referer}i\\" \\"%{User-Agent}i\\"" combined
CustomLog "logs/access_log" combined
TypesConfig /etc/mime.types
AddDefaultCharset UTF-8
EnableSendfile on
IncludeOptional conf.d/*.conf
"""
# Those of 00-base.conf, 00-mpm.conf and 00-proxy.conf; what Debian has built in cannot be loaded.
MODULES = (
    "access_compat actions alias allowmethods auth_basic authn_core authn_file authz_core authz_groupfile authz_host "
    "authz_user autoindex deflate dir env expires ext_filter filter headers include info log_debug mime mime_magic "
    "negotiation remoteip reqtimeout rewrite setenvif socache_shmcb status substitute unique_id vhost_alias "
    "mpm_event proxy proxy_fcgi proxy_http"
).split()
# A link would not do: the binary would look for its configuration in /etc/apache2.
HTTPD = """#!/bin/sh
exec /usr/sbin/apache2 -d /etc/httpd -f conf/httpd.conf -C 'DefaultRuntimeDir /run/httpd' \\
  -C 'PidFile /run/httpd/httpd.pid' "$@"
"""
PHP_FPM = """#!/bin/sh
exec /usr/sbin/php-fpm8.2 --fpm-config /etc/php-fpm.conf "$@"
"""
PHP_FPM_CONF = """include=/etc/php-fpm.d/*.conf
[global]
pid = /run/php-fpm/php-fpm.pid
error_log = /var/log/php-fpm/error.log
"""
CRONTAB = """#!/bin/sh
# cronie's dry run
if [ "$1" = -T ]; then
  shift
  set -- -n "$@"
fi
exec /usr/bin/crontab "$@"
"""
# On a CentOS this makes the certificate that ssl.conf names, without which `httpd -t` refuses: once, and slowly.
HTTPD_INIT = """[Unit]
Description=One-time configuration for httpd.service
ConditionPathExists=!/etc/pki/tls/certs/localhost.crt
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sleep 2; mkdir -p /etc/pki/tls/certs; exec touch /etc/pki/tls/certs/localhost.crt'
"""
HTTPD_SERVICE = """[Unit]
Description=The Apache HTTP Server
Wants=httpd-init.service
After=network.target remote-fs.target nss-lookup.target httpd-init.service
[Service]
EnvironmentFile=-/etc/sysconfig/httpd
ExecStart=/usr/sbin/httpd $OPTIONS -DFOREGROUND
ExecReload=/usr/sbin/httpd $OPTIONS -k graceful
KillSignal=SIGWINCH
KillMode=mixed
PrivateTmp=true
[Install]
WantedBy=multi-user.target
"""
PHP_FPM_SERVICE = """[Unit]
Description=The PHP FastCGI Process Manager
After=network.target
[Service]
Type=notify
ExecStart=/usr/sbin/php-fpm --nodaemonize
ExecReload=/bin/kill -USR2 $MAINPID
PrivateTmp=true
RuntimeDirectory=php-fpm
RuntimeDirectoryMode=0755
[Install]
WantedBy=multi-user.target
"""
CROND_SERVICE = """[Unit]
Description=Command Scheduler
After=auditd.service nss-user-lookup.target systemd-user-sessions.service time-sync.target ypbind.service autofs.service
[Service]
EnvironmentFile=/etc/sysconfig/crond
ExecStart=/usr/sbin/crond -f $CRONDARGS
ExecReload=/bin/kill -HUP $MAINPID
KillMode=process
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""
FILES = {
    "etc/os-release": OS_RELEASE,
    "etc/httpd/conf/httpd.conf": HTTPD_CONF,
    "etc/httpd/conf.modules.d/00-base.conf": "".join(
        f"LoadModule {name}_module modules/mod_{name}.so\n" for name in MODULES
    ),
    "etc/httpd/conf.d/ssl.conf": "Include /etc/pki/tls/certs/localhost.crt\n",
    "etc/php-fpm.conf": PHP_FPM_CONF,
    "etc/my.cnf": "[client-server]\n!includedir /etc/my.cnf.d\n",
    "etc/my.cnf.d/client.cnf": "[client]\n",
    "etc/sysconfig/httpd": "LANG=C\n",
    "etc/sysconfig/crond": "CRONDARGS=\n",
    "usr/lib/tmpfiles.d/httpd.conf": "d /run/httpd 0710 root apache\n",
    "usr/lib/systemd/system/httpd-init.service": HTTPD_INIT,
    "usr/lib/systemd/system/httpd.service": HTTPD_SERVICE,
    "usr/lib/systemd/system/php-fpm.service": PHP_FPM_SERVICE,
    "usr/lib/systemd/system/crond.service": CROND_SERVICE,
}
PROGRAMS = {"usr/sbin/httpd": HTTPD, "usr/sbin/php-fpm": PHP_FPM, "usr/local/bin/crontab": CRONTAB}
LINKS = {
    "etc/httpd/modules": "../../usr/lib64/httpd/modules",
    "usr/lib64/httpd/modules": "/usr/lib/apache2/modules",
    "etc/httpd/logs": "../../var/log/httpd",
    "etc/httpd/run": "/run/httpd",
    "usr/sbin/crond": "cron",
}
FOLDERS = ("etc/httpd/conf.d", "etc/php-fpm.d", "var/log/httpd", "var/log/php-fpm", "var/www/html")
SERVICES = ("httpd.service", "php-fpm.service", "crond.service")


NOT_COPIED = shutil.ignore_patterns("test", "tests", "site-packages", "config-*", "ensurepip", "idlelib", "tkinter")
# As Debian's agent was attached; that of CentOS shall do it itself.
ATTACHED = ("etc/cron.d/rolecall", "etc/logrotate.d/rolecall", "etc/munin/munin-node.conf")


def bake(root: Path, package: Path) -> None:
    """Make an image of CentOS out of Debian's: settings, signers and seed are the same."""
    settings = {path.name: path.read_text() for path in (root / "etc/rolecall").iterdir()}
    leave(root)
    shape(root)
    bring_python(root)
    rpm(root, "--install", "--nodeps", str(package))
    settings["agent.toml"] = settings["agent.toml"].replace('platform = "debian"', 'platform = "centos"')
    for name, text in settings.items():
        write(root / "etc/rolecall" / name, text)
    inside(root, "rolecall", "image", "attach")
    inside(root, "rolecall", "image", "check", "--fix", ok=False)
    inside(root, "rolecall", "image", "check")


def inside(root: Path, *argv: str | Path, ok: bool = True) -> str:
    """Run a program in it; scripts of packages want a /proc."""
    begin = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    return sh("unshare", "--mount", "sh", "-c", begin, root, *argv, ok=ok)


def rpm(root: Path, *words: str, ok: bool = True) -> str:
    """Run this machine's rpm on it; scriptlets run inside."""
    return sh("rpm", "--root", root, "--dbpath", "/var/lib/rpm", *words, ok=ok)


def leave(root: Path) -> None:
    """Take away the agent of Debian, and all that it and the bake have left."""
    inside(root, "dpkg", "--purge", "rolecall")
    inside(root, "groupdel", "rolecall")
    for folder in ("etc/rolecall", "var/lib/rolecall", "usr/share/rolecall"):
        shutil.rmtree(root / folder)
    for path in (*root.glob("etc/systemd/system/*.d/rolecall.conf"), *(root / name for name in ATTACHED)):
        path.unlink()


def bring_python(root: Path) -> None:
    """As /usr/bin/python3.12 and /usr/bin/python3, where no other 3.12 is; it has to load what the agent does."""
    prefix = python312()
    shutil.copytree(prefix / "lib/python3.12", root / "usr/lib/python3.12", symlinks=True, ignore=NOT_COPIED)
    shutil.copy2(prefix / "bin/python3.12", root / "usr/bin")
    for library in prefix.glob("lib/libpython3.12.so*"):
        shutil.copy2(library, root / "usr/lib")
    inside(root, "ldconfig")
    (root / "usr/bin/python3").unlink()
    (root / "usr/bin/python3").symlink_to("python3.12")
    inside(root, "python3", "-c", "import bz2, ctypes, decimal, hashlib, lzma, pyexpat, sqlite3, ssl, uuid, zlib")


def shape(root: Path) -> None:
    """Take away what a CentOS does not have, and put its own in place."""
    for service in ("apache2", "php8.2-fpm", "cron"):
        sh("chroot", root, "systemctl", "--quiet", "disable", f"{service}.service")
        for path in (f"usr/lib/systemd/system/{service}.service", f"etc/init.d/{service}"):
            (root / path).unlink(missing_ok=True)
    for folder in ("etc/apache2", "etc/php/8.2/fpm"):
        shutil.rmtree(root / folder)
    sh("chroot", root, "groupadd", "--system", "--gid=48", "apache")
    sh("chroot", root, "useradd", "--system", "--uid=48", "--gid=48", "--home-dir=/usr/share/httpd",
       "--no-create-home", "--shell=/sbin/nologin", "apache")  # fmt: skip
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "etc/os-release").unlink()
    for name, text in FILES.items():
        write(root / name, text)
    for name, text in PROGRAMS.items():
        write(root / name, text, 0o755)
    for name, target in LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    sh("chroot", root, "systemctl", "--quiet", "enable", *SERVICES)
