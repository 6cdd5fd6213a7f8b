#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Waits at most $1 seconds until nobody but us changes the guest: cloud-init has
# finished, the daily updates are at rest, and nobody holds a lock of the package
# manager.
set -eu
limit=$1
end=$(($(date +%s) + limit))
left() { echo $((end - $(date +%s))); }

# The daily updates must not start between our look and our own update. The timers
# are back at the next boot.
stop_timers() { timeout 30 systemctl stop apt-daily.timer apt-daily-upgrade.timer 2>/dev/null || true; }

# Only where systemd runs the machine: in a chroot there is nothing to wait for.
systemd=""
if [ -d /run/systemd/system ]; then
	systemd=yes
	stop_timers
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
	# A boot that was under way may have started them after all.
	stop_timers
fi

# The services that the timers start hold no lock between their parts, and none
# while they wait for the network. unattended-upgrade is such a part; the service
# of that name is not asked, because it stays active until the machine halts. A
# service with a job has been asked to start.
updating() {
	[ -n "$systemd" ] || return 1
	for u in apt-daily.service apt-daily-upgrade.service; do
		state=$(timeout 30 systemctl show --property=ActiveState --value "$u" || echo unknown)
		job=$(timeout 30 systemctl show --property=Job --value "$u" || echo unknown)
		case $state/$job in
		inactive/ | inactive/0 | failed/ | failed/0) ;;
		*)
			echo "$u"
			return 0
			;;
		esac
	done
	return 1
}

# dpkg, apt and unattended-upgrade (by hand, too) lock whole files by fcntl; the
# kernel lists who does.
locked() {
	for f in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock \
		/run/unattended-upgrades.lock; do
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

# The services first: what they start while we look has a lock by then.
said=""
while what=$(updating || locked); do
	if [ "$(left)" -le 0 ]; then
		echo "$what is still in use after $limit s: another package manager is at work on the guest" >&2
		exit 1
	fi
	if [ "$said" != "$what" ]; then
		echo "waiting for the end of $what"
		said=$what
	fi
	sleep 1
done
