#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Process 1 of the bake's namespaces (mounts, processes, IPC, host name). Nothing
# that is mounted from here on is seen by the host, and when this process ends
# the kernel ends all others in here and drops the mounts. It lives as long as
# the plugin holds the other end of its standard input: however the plugin ends,
# killed included, nothing stays behind.
set -eu

mount --make-rprivate /
# /proc must be that of these processes, or /proc/self leads nowhere.
mount -t proc -o nosuid,nodev,noexec proc /proc
echo ready
exec cat >/dev/null
