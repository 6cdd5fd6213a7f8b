#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Unpacks the archive $1, a .tar.gz, at the root of the image. Folders that are there keep
# what they are unless the archive names them; what was in the place of a file, a
# link too, is replaced.
set -eu
umask 022
archive=${1%.gz}
gzip --decompress --stdout "$1" >"$archive" # once, to be read three times

# The users that files belong to come first.
if tar --list --file "$archive" | grep -q '^usr/lib/sysusers\.d/'; then
	tar --extract --file "$archive" --directory / --same-owner --same-permissions \
		--touch --wildcards 'usr/lib/sysusers.d/*'
fi
systemd-sysusers

# --touch: the archive's times are none at all.
tar --extract --file "$archive" --directory / --same-owner --same-permissions --touch
