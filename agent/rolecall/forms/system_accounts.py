"""Names of accounts and groups that images have anyway: a product that ran as one of these would own its files too.

Sources: Debian's base-passwd, the file /usr/share/doc/setup/uidgid of CentOS, the sysusers.d of systemd, the packages
that the roles install on both; for login names, the vendors' image documentation.
"""

_DEBIAN = (
    "root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody nogroup adm tty "
    "disk kmem dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev staff "
    "users crontab netdev lpadmin scanner bluetooth ssh ssl-cert sshd messagebus polkitd uuidd tss rdma syslog ntp "
    "ntpsec statd tcpdump memcache mysql munin nagios postfix postdrop lxd libvirt sambashare "
    "_apt _ssh _chrony _rpc"
)
_CENTOS = (
    "shutdown halt gopher ftp mem wheel lock utempter floppy ssh_keys dbus chrony rpc rpcuser nfsnobody sssd "
    "cockpit-ws cockpit-wsinstance cockpit-session cockpit-systemd-service setroubleshoot geoclue unbound stapusr "
    "stapsys stapdev pesign slocate screen printadmin cgred saslauth nscd nslcd avahi rtkit pulse pulse-access "
    "pipewire clevis libstoragemgmt dnsmasq named qemu vcsa abrt pcp insights rhsm apache memcached mariadb nginx "
    "smmsp mailnull rngd rpm squid dovecot ldap"
)
_SYSTEMD = "input kvm render sgx clock empower"  # and all whose names begin with `systemd-`
_DAEMONS = "docker podman containerd postgres redis varnish haproxy lighttpd tomcat rabbitmq puppet rolecall"
_LOGINS = (
    "admin administrator ec2-user centos rocky almalinux alma fedora ubuntu debian oracle opc azureuser vagrant "
    "cloud-user clouduser cloud_user cloudlinux core bitnami redhat rhel suse opensuse arch alpine freebsd linuxuser "
    "ssm-user packer ansible pi"
)

LOGIN_ACCOUNTS = frozenset(_LOGINS.split())
SYSTEM_ACCOUNTS = frozenset(f"{_DEBIAN} {_CENTOS} {_SYSTEMD} {_DAEMONS}".split())


def why_reserved(name: str) -> str:
    """Whose account or group a name is on the images of either platform; '' if it is nobody's."""
    if name in LOGIN_ACCOUNTS:
        return "the account that people log in with on some images"
    if name in SYSTEM_ACCOUNTS or name.startswith("systemd-"):
        return "an account or group of the system"
    return ""
