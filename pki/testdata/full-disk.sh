#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Has vpnami-pki work on a disk that is full. It runs in a mount namespace of
# its own, in a folder that becomes a small file system of memory.
set -eu
said=$(mktemp)
trap 'rm -f "$said"' EXIT
mount -t tmpfs -o size=256k tmpfs "$1"
cd "$1"

refused() {
	if vpnami-pki "$@" 2>"$said"; then
		echo "it did $* on a full disk" >&2
		exit 1
	fi
	grep -q 'no space left on device' "$said" || {
		cat "$said" >&2
		exit 1
	}
}

vpnami-pki init office --server-name vpn.example.com
vpnami-pki issue client1 --folder office

dd if=/dev/zero of=filler bs=4k 2>/dev/null || true

refused issue client2 --folder office
refused renew client1 --folder office --out renewed
refused revoke client1 --folder office
refused rollover start --folder office
refused renew-server --folder office
refused init another --server-name vpn.example.com

# Nothing has changed, and nothing is lost.
rm filler
[ ! -e client2.ovpn ] && [ ! -e another ] && [ ! -e renewed/client1.ovpn ]
vpnami-pki list --folder office | grep -q '^client1 .*good'
if vpnami-pki list --folder office | grep -q client2; then exit 1; fi
if vpnami-pki rollover status --folder office 2>/dev/null; then exit 1; fi
vpnami-pki issue client2 --folder office
vpnami-pki revoke client1 --folder office
vpnami-pki list --folder office | grep -q '^client1 .*revoked'

# Of many some are done when the place for profiles is full: what is said in one
# line can be followed.
mkdir big out
mount -t tmpfs tmpfs big
mount -t tmpfs -o size=300k tmpfs out
# A mount point cannot be replaced by an authority: known before a passphrase is
# asked for.
if VPNAMI_PASSPHRASE=short vpnami-pki init office --folder big --server-name vpn.example.com 2>"$said"; then exit 1; fi
grep -q 'making the folder "big": a file system is mounted there.*choose a folder in it, such as "big/office"' "$said"
vpnami-pki init office --folder big/office --server-name vpn.example.com
{
	echo name
	seq -f p%03g 100
} >big/people.csv
refused issue --folder big/office --from big/people.csv --out out
[ "$(wc -l <"$said")" = 1 ]
grep -q 'after 64 of 100 profiles: writing "out/p[0-9]*.ovpn": .* more like it); the first 64 are done, the last of them "p064": when that is mended, give the command again without them$' "$said"
if grep -q 'same command again' "$said"; then exit 1; fi
[ "$(find out -name 'p*.ovpn' | wc -l)" = 64 ]
mount -t tmpfs tmpfs out
sed 2,65d big/people.csv >big/rest.csv
vpnami-pki issue --folder big/office --from big/rest.csv --out out
vpnami-pki list --folder big/office | grep -q '^p100 .*good'
