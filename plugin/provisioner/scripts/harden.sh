#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Leaves no account that a password opens. Keys are the only way in; sudo of the
# cloud's default user asks for none.
set -eu

while IFS=: read -r user hash _; do
	case $hash in
	'' | [!*!]*)
		echo "no password any more: $user"
		usermod --password '*' "$user"
		;;
	esac
done </etc/shadow
