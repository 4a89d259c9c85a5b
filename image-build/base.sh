# shellcheck shell=bash
# base: what every machine of the fleet has, whatever it is for.

setting centos 'munin-node comes from EPEL' dnf -y install epel-release
setting centos 'and needs this' /usr/bin/crb enable

packages <<'END'
# CentOS         Debian           why
ca-certificates  ca-certificates  whom to believe when a store is asked over TLS
chrony           chrony           the right time: signatures, TLS and AWS want it
openssh-server   openssh-server   the way in; its ssh-keygen verifies the fleet document
logrotate        logrotate        logs do not fill the disk
munin-node       munin-node       tells the monitor how the machine is
END

place debian /etc/systemd/system/ssh.service.d/host-keys.conf \
  'an image has no host keys; each machine makes its own, before its first start' <<'END'
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
END

#       CentOS             Debian
enable  chronyd.service    chrony.service
enable  sshd.service       ssh.service
enable  logrotate.timer
enable  munin-node.service

# The role's daemons are ordered after the agent, but do not need it: if it fails, they go on with what they have.
agent
settings
enable  rolecall-boot.service
enable  rolecall-refresh.timer
enable  rolecall-drain.service
enable  rolecall-ready.target
