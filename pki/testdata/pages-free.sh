#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# pages-free.sh FROM DISK RESULTS COMMAND... has vpnami-pki do a command in a copy of
# FROM on a disk with no page free, with one, and so on until it gets through; and, where
# it fails, again with room. It runs in a mount namespace of its own. What is there before,
# after, and after the second is copied to RESULTS/PAGES, with what was said.
set -eu
from=$1 disk=$2 results=$3
shift 3

pages=0
while :; do
	mkdir "$results/$pages"
	mount -t tmpfs -o size=3m tmpfs "$disk"
	cp -a "$from/." "$disk"
	cd "$disk"
	head -c $((pages * 4096)) /dev/zero >hole
	dd if=/dev/zero of=filler bs=4k 2>/dev/null || true
	rm hole
	code=0
	vpnami-pki "$@" >"$results/$pages/said" 2>&1 || code=$?
	rm filler
	cp -a "$disk" "$results/$pages/after"
	if [ $code != 0 ]; then
		echo yes >"$results/$pages/failed"
		vpnami-pki "$@" >"$results/$pages/said-again" 2>&1 || echo yes >"$results/$pages/failed-again"
		cp -a "$disk" "$results/$pages/again"
	fi
	cd /
	umount "$disk"
	[ $code != 0 ] || exit 0
	pages=$((pages + 1))
	if [ $pages = 200 ]; then
		echo "it needs more than $pages pages" >&2
		exit 1
	fi
done
