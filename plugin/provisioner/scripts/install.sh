#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Installs the packages that are named, removes those named with a "-" at the end,
# and brings all others up to date. Nothing is started, stopped or reloaded: with
# default-drop rules in force, Packer's own connection would be cut.
set -eu

policy=/usr/sbin/policy-rc.d
made=""
cleanup() { [ -z "$made" ] || rm -f "$policy"; }
trap cleanup EXIT
# PIPE: nobody listens any more, because the connection broke.
trap 'exit 130' HUP INT TERM PIPE
if [ ! -e "$policy" ]; then
	made=yes
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 0755 "$policy"
fi

# Without this, the package saves the rules that are in force on the machine that
# bakes as those of the image.
debconf-set-selections <<'ANSWERS'
iptables-persistent iptables-persistent/autosave_v4 boolean false
iptables-persistent iptables-persistent/autosave_v6 boolean false
ANSWERS

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# Ubuntu's needrestart asks, and restarts.
export NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1

# apt gives the lists the time that the mirror says; the time of the inode's last
# change is when they came. An hour: no mirror of the distributions changes more
# often than every six.
fresh() {
	[ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*Release' -cmin -60 2>/dev/null | head -n 1)" ] &&
		[ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' 2>/dev/null | head -n 1)" ]
}
# Another package manager may have come since we looked: five minutes are a long
# upgrade.
patience=300

# apt-get waits for dpkg's lock by itself, not for that of the lists: "update"
# fails at once while another one is at it.
update() {
	end=$(($(date +%s) + patience))
	while :; do
		status=0
		complaint=$(apt-get -o APT::Update::Error-Mode=any --quiet update 2>&1 >&3) || status=$?
		case $status$complaint in
		0*) ;;
		*/var/lib/apt/lists/lock*)
			if [ "$(date +%s)" -lt "$end" ]; then
				echo "I: another package manager updates the lists; waiting..."
				sleep 5
				continue
			fi
			;;
		esac
		[ -z "$complaint" ] || printf '%s\n' "$complaint" >&2
		return "$status"
	done
}
if ! fresh; then
	echo "I: running apt-get update..."
	update 3>&1
fi

apt-get --quiet --yes --no-install-recommends \
	-o DPkg::Lock::Timeout="$patience" \
	-o Dpkg::Use-Pty=0 \
	-o Dpkg::Options::=--force-confdef \
	-o Dpkg::Options::=--force-confold \
	-o Dpkg::Options::=--force-unsafe-io \
	dist-upgrade "$@" </dev/null
