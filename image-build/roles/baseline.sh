# shellcheck shell=bash
# baseline: no role. The machine learns at its first boot, from its tags or user-data, what it is for, and installs that
# role with the very scripts that bake it elsewhere. Such a boot takes longer, and needs a source of packages.

catalogue

place any /etc/systemd/system/rolecall-role.service 'installs the role, before the agent does anything else' <<'END'
[Unit]
Description=Install the role that this machine's tags or user-data name
Documentation=man:rolecall(8)
ConditionPathExists=!/var/lib/rolecall/role.json
Wants=network-online.target
After=network-online.target nss-lookup.target time-sync.target
# Where cloud-init is installed: its stage that writes the sources of packages.
After=cloud-init.service cloud-config.service
Before=rolecall-boot.service

[Service]
Type=oneshot
ExecStart=/usr/bin/rolecall image install
# What this boot is to start was decided before there was a role. Once more, then: its daemons and timers, each in its
# place; and after a try that failed, the agent's run. By name, as systemd does not look below targets that are reached.
ExecStartPost=/usr/bin/systemctl --no-block start sockets.target timers.target paths.target multi-user.target
Restart=on-failure
RestartSec=10
# The agent itself gives up, after boot.budget of agent.toml.
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
END

enable  rolecall-role.service
