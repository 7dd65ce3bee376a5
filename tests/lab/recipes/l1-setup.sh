#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs by chroot inside a fresh Debian tree and makes it a host of the lab. $1: the lab's public key.
set -eu

systemctl_mask() {
	for unit; do ln -sf /dev/null "/etc/systemd/system/$unit"; done
}

echo lab >/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 lab\n' >/etc/hosts
# A known id: without one the first boot would set up a machine instead of starting it.
echo 6c61622d686f72637275782d6c616221 >/etc/machine-id
: >/etc/fstab
ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime

# Only the lab's own line out gets an address: the cards' NICs stay as a host would find them.
mkdir -p /etc/systemd/network
cat >/etc/systemd/network/10-lab.network <<-END
	[Match]
	Driver=virtio_net
	[Network]
	Address=10.77.0.15/24
	Gateway=10.77.0.2
	LinkLocalAddressing=no
	IPv6AcceptRA=no
	ConfigureWithoutCarrier=yes
END
systemctl enable systemd-networkd.service >/dev/null 2>&1

mkdir -p -m 700 /root/.ssh
echo "$1" >/root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys
mkdir -p /etc/ssh/sshd_config.d
cat >/etc/ssh/sshd_config.d/lab.conf <<-END
	UsePAM no
	UseDNS no
	PasswordAuthentication no
	PermitRootLogin prohibit-password
	MaxSessions 64
	MaxStartups 64
	AcceptEnv HORCRUX_*
END
[ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
rm -f /etc/ssh/ssh_host_rsa_key* /etc/ssh/ssh_host_ecdsa_key*

# What costs seconds of an emulated boot and has nothing to do with what is tested here.
systemctl_mask systemd-networkd-wait-online.service e2scrub_reap.service e2scrub_all.timer \
	fstrim.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
	libvirt-guests.service ldconfig.service modprobe@drm.service getty@tty1.service \
	serial-getty@ttyS0.service systemd-update-utmp.service systemd-pstore.service \
	systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-pcrmachine.service \
	systemd-hwdb-update.service systemd-journal-catalog-update.service \
	systemd-update-done.service systemd-boot-update.service systemd-firstboot.service \
	systemd-network-generator.service
mkdir -p /etc/systemd/journald.conf.d /etc/systemd/system.conf.d
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' >/etc/systemd/journald.conf.d/lab.conf
printf '[Manager]\nDefaultTimeoutStopSec=20s\n' >/etc/systemd/system.conf.d/lab.conf

# libvirtd is there all the time, as on a host in use (by default it leaves after two idle minutes).
if [ -e /etc/default/libvirtd ]; then
	echo 'LIBVIRTD_ARGS=""' >>/etc/default/libvirtd
fi
ldconfig
for v in /lib/modules/*; do depmod -a "${v##*/}"; done
rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/*.log /var/cache/debconf/*-old
