#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Waits at most $1 seconds until nobody but us changes the guest: cloud-init has
# finished, and nobody holds a lock of the package manager.
set -eu
limit=$1
end=$(($(date +%s) + limit))
left() { echo $((end - $(date +%s))); }

# Only where systemd runs the machine: in a chroot there is nothing to wait for.
if [ -d /run/systemd/system ]; then
	if command -v cloud-init >/dev/null; then
		status=0
		timeout "$(left)" cloud-init status --wait >/dev/null 2>&1 || status=$?
		case $status in
		0) ;;
		124)
			echo "cloud-init has not finished after $limit s: see \"cloud-init status --long\" on the guest" >&2
			exit 1
			;;
		# What it could not do on this guest need not concern the image; it says
		# so of harmless things too.
		*) echo "cloud-init finished with complaints (status $status)" ;;
		esac
	fi
	# The daily updates must not start between our look at the locks and our own
	# update. The timers are back at the next boot.
	systemctl stop apt-daily.timer apt-daily-upgrade.timer 2>/dev/null || true
fi

# dpkg and apt lock whole files by fcntl; the kernel lists who does.
locked() {
	for f in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock; do
		[ -e "$f" ] || continue
		id=$(stat -c '%Hd %Ld %i' "$f" | {
			read -r major minor inode
			printf '%02x:%02x:%s' "$major" "$minor" "$inode"
		})
		if grep -q " $id " /proc/locks; then
			echo "$f"
			return 0
		fi
	done
	return 1
}

said=""
while f=$(locked); do
	if [ "$(left)" -le 0 ]; then
		echo "$f is still locked after $limit s: another package manager is at work on the guest" >&2
		exit 1
	fi
	if [ "$said" != "$f" ]; then
		echo "waiting for the lock $f"
		said=$f
	fi
	sleep 1
done
