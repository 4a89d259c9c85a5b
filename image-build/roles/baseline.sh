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
After=network-online.target nss-lookup.target cloud-init.service
Before=rolecall-boot.service

[Service]
Type=oneshot
ExecStart=/usr/bin/rolecall image install
Restart=on-failure
RestartSec=10
TimeoutStartSec=20min

[Install]
WantedBy=multi-user.target
END

enable  rolecall-role.service
