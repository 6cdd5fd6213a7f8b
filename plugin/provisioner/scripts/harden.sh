#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Hardens what the distribution's packages laid down and what cannot be had by a
# file of our own beside it. It may run again on its own result.
set -eu

# No account that a password opens. Keys are the only way in; sudo of the cloud's
# default user asks for none.
while IFS=: read -r user hash _; do
	case $hash in
	'' | [!*!]*)
		echo "no password any more: $user"
		usermod --password '*' "$user"
		;;
	esac
done </etc/shadow

# No program gives its caller more rights but those that vpnami-firstboot
# check-image names (mayRaise). dpkg keeps to it when packages are updated.
find /usr /opt /srv -xdev -type f -perm /6000 | while read -r path; do
	case ${path##*/} in
	sudo | sudo.ws | passwd | unix_chkpwd | pam_extrausers_chkpwd | chage | expiry | ssh-agent | dbus-daemon-launch-helper) continue ;;
	polkit-agent-helper-1 | pkexec | snap-confine | fusermount3 | utempter | crontab) continue ;;
	esac
	echo "gives nobody more rights any more: $path"
	dpkg-statoverride --quiet --remove "$path" 2>/dev/null || true
	dpkg-statoverride --update --add root root 0755 "$path"
done

# Nor a capability, but those that it names (mayHave). dpkg has no word for keeping to
# that: a package that gives its program one does so again when it is updated. Where
# getcap is not, no package can have given any.
if command -v getcap >/dev/null; then
	getcap -r /usr /opt /srv | while read -r path _; do
		case ${path##*/} in
		ping | arping | mtr-packet | gst-ptp-helper | snap-confine) continue ;;
		esac
		echo "has no capabilities any more: $path"
		setcap -r "$path"
	done
fi

# vpnami-firstboot starts the tunnel, and nothing of the distribution's does.
# EC2 has a serial console, but no keyboard and no screen; and no LVM to scrub.
for unit in openvpn.service getty@tty1.service e2scrub_reap.service e2scrub_all.timer; do
	systemctl --quiet disable "$unit" || echo "there is no $unit"
done

# dpkg.cfg.d/vpnami keeps them from coming back; all that they set, our
# sysctl.d/90-vpnami.conf sets: fs.protected_fifos to 2, not 1, and kernel.pid_max
# to 65536, not 4194304.
rm -f /usr/lib/sysctl.d/50-pid-max.conf /usr/lib/sysctl.d/99-protect-links.conf

# The rules are put together here, and not at each first boot. Our auditd.service loads
# them; Debian 13's unit for it would do it twice.
# Where sudo is a link, as Ubuntu 26.04 has it to sudo-rs, audit follows none: what is
# recorded is the program itself, and the other that the link may be turned to.
rules=/etc/audit/rules.d/vpnami-sudo.rules
for program in "$(readlink -f /usr/bin/sudo)" /usr/bin/sudo.ws; do
	[ "$program" = /usr/bin/sudo ] || [ ! -x "$program" ] ||
		echo "-a always,exit -F path=$program -F perm=x -F auid>=1000 -F auid!=unset -F key=sudo"
done >"$rules"
[ -s "$rules" ] || rm "$rules"
augenrules
rm -f /etc/audit/audit.rules.prev
systemctl --quiet disable audit-rules.service 2>/dev/null || echo "there is no audit-rules.service"

# A profile that the kernel refuses is no profile, and the daemon starts all the same
# (AppArmorProfile=-): the bake is to fail for it.
apparmor_parser --skip-kernel-load --skip-cache --quiet /etc/apparmor.d/vpnami-openvpn
# The distributions have some hundred profiles that keep nobody from anything: they
# name programs, of desktops and for containers, that may make user namespaces where
# Ubuntu lets nobody else. To read them is most of what AppArmor takes of a boot.
# Those that confine stay, and so does what a package brings later; an owner who wants
# one of the others removes its link.
mkdir -p /etc/apparmor.d/disable
find /etc/apparmor.d -maxdepth 1 -type f ! -name '.*' -exec awk '
	function told() { if (lenient && !confines) print name }
	FNR == 1 { told(); name = FILENAME; lenient = confines = 0 }
	/^(profile |\/)/ { if (/flags=\(([^)]*[ ,])?(unconfined|complain)[ ,)]/) lenient = 1; else confines = 1 }
	END { told() }' {} + | sort | xargs --no-run-if-empty ln -sf --target-directory=/etc/apparmor.d/disable

# What people make is theirs and their group's. Nothing is said here of how long a
# password lives: sshd asks for a new one where it has ended, also of those who
# have none and come with a key, and so locks them out.
set_login() {
	sed -i -E "/^#?[[:space:]]*$1[[:space:]]/d" /etc/login.defs
	printf '%s\t%s\n' "$1" "$2" >>/etc/login.defs
}
find /etc/skel -type f -exec chmod o-rwx {} +
set_login UMASK 027
set_login ENCRYPT_METHOD YESCRYPT
set_login HOME_MODE 0700
set_login YESCRYPT_COST_FACTOR 11
set_login SHA_CRYPT_MIN_ROUNDS 65536
set_login SHA_CRYPT_MAX_ROUNDS 65536

# Passwords that an owner may give are counted, remembered and hashed slowly; none
# is not one. pam-auth-update keeps options that were added to a module.
pam-auth-update --package --enable vpnami-faillock-before vpnami-faillock-after vpnami-faillock-success vpnami-pwhistory pwquality
sed -i -E '/^auth.*pam_unix\.so/s/ nullok\>//' /etc/pam.d/common-auth
sed -i -E '/^password.*pam_unix\.so/{/rounds=/!s/ yescrypt\>/ yescrypt rounds=11/}' /etc/pam.d/common-password

# sshd_config.d/10-vpnami.conf goes before this line; those who only read the main
# file are to see the same.
sed -i -E 's/^#?PermitRootLogin .*/PermitRootLogin no/' /etc/ssh/sshd_config

# What tells an intruder about the machine is for root.
chmod 0600 /etc/ssh/sshd_config
for path in /etc/crontab /etc/cron.d /etc/cron.hourly /etc/cron.daily /etc/cron.weekly /etc/cron.monthly; do
	[ ! -e "$path" ] || chmod go-rwx "$path"
done
