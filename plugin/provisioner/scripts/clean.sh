#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Removes what makes this guest itself: what is left is the same on every instance.
set -eu

# cloud-init runs as on a new instance; it keeps its configuration. It takes half a
# second to start, and what else is removed is none of its business.
cloud_init=""
if command -v cloud-init >/dev/null; then
	cloud-init clean --logs --seed >/dev/null &
	cloud_init=$!
fi

# A policy that is left keeps every daemon of later upgrades from starting.
rm -f /usr/sbin/policy-rc.d

# Keys: cloud-init makes host keys on the first boot, and brings the launch's own
# authorized key.
rm -f /etc/ssh/ssh_host_* /etc/ssh/authorized_keys*
# Sample keys of the documentation are private keys to whoever searches for some.
rm -rf /usr/share/doc/openvpn/examples
# The account files as they were before harden.sh, with the passwords.
rm -f /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid-
for home in /root /home/*; do
	rm -f "$home"/.ssh/authorized_keys* "$home"/.ssh/known_hosts*
	rm -f "$home"/.*_history "$home/.lesshst" "$home/.viminfo" "$home/.wget-hsts" "$home/.sudo_as_admin_successful"
	rm -rf "$home/.cache" "$home/.aws"
done

# Identity. An empty machine-id is filled in at the first boot; a missing one
# would make systemd apply its presets on top.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret \
	/boot/loader/random-seed /boot/efi/loader/random-seed
rm -f /etc/hostid /var/lib/chrony/* /var/lib/dhcp/* /var/lib/dhcpcd/* 2>/dev/null || true

# Packages' caches and lists.
apt-get clean
rm -rf /var/lib/apt/lists/*
rm -f /var/cache/apt/pkgcache.bin /var/cache/apt/srcpkgcache.bin
rm -f /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/lib/ucf/*.[0-9]
rm -rf /var/cache/man/* /var/cache/ldconfig/aux-cache

[ -z "$cloud_init" ] || wait "$cloud_init"
rm -rf /var/lib/cloud/instances /var/lib/cloud/instance /var/lib/cloud/data /var/lib/cloud/sem
rm -f /var/log/cloud-init*.log

# It would go on recording who bakes, where it runs.
systemctl --quiet stop auditd.service 2>/dev/null || true
# Logs. Files of daemons that run are emptied, not removed; the journal's are
# found again by their machine-id, which is gone.
find /var/log -type f ! -path '/var/log/journal/*' -exec truncate --size 0 {} +
find /var/log -type f \( -name '*.gz' -o -name '*.[0-9]' -o -name '*.old' \) -delete
rm -rf /var/log/journal/* /var/crash/* /var/lib/systemd/coredump/* /core

# Temporary files, but not the folder that this script runs from: who brought it
# removes it.
self=$(cd "$(dirname "$0")/.." && pwd)
find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -path "$self" -exec rm -rf {} + 2>/dev/null || true

# The snapshot is of the disk, not of what is still in memory.
sync
