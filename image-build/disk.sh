# shellcheck shell=bash
# disk: what a root folder lacks to boot by itself: a kernel, an initrd, a network. AMIs and physical machines have them.

packages <<END
# CentOS         Debian                    why
systemd-udev     udev                      finds the devices
dracut           initramfs-tools           finds the root file system
kernel-core      linux-image-cloud-$(debian_architecture)   the kernel, for virtual machines
NetworkManager   systemd-resolved          asks for an address, or knows whom to ask for names
END

place any /etc/fstab 'the one file system' <<'END'
LABEL=rolecall / ext4 defaults 0 1
END

place debian /etc/systemd/network/80-dhcp.network 'every wired interface asks for its address' <<'END'
[Match]
Type=ether

[Network]
DHCP=yes
END

#       CentOS                   Debian
enable  NetworkManager.service   systemd-networkd.service
