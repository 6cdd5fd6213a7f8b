#!/bin/sh
# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# Makes the root file system at $1 a place where provisioners can run. All of it
# is mounted in the bake's own namespace: of this, nothing lands in the image.
set -eu
root=$1

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# Packages' scripts look at it; none may change the host through it (as
# bootctl would do with the firmware's variables).
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"

# Devices of its own: the host's disks are not among them.
mount -t tmpfs -o mode=0755,nosuid,noexec,size=4m devices "$root/dev"
mknod -m 0666 "$root/dev/null" c 1 3
mknod -m 0666 "$root/dev/zero" c 1 5
mknod -m 0666 "$root/dev/full" c 1 7
mknod -m 0666 "$root/dev/random" c 1 8
mknod -m 0666 "$root/dev/urandom" c 1 9
mknod -m 0666 "$root/dev/tty" c 5 0
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5,nosuid,noexec devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"

# What is written to these two during the bake is gone with it.
mount -t tmpfs -o mode=1777,nosuid,nodev tmp "$root/tmp"
mount -t tmpfs -o mode=0755,nosuid,nodev run "$root/run"
mkdir "$root/run/lock"
chmod 1777 "$root/run/lock"

# The image's /etc/resolv.conf leads here; during the bake, names are resolved as
# the host does.
mkdir -p "$root/run/systemd/resolve"
cat /etc/resolv.conf >"$root/run/systemd/resolve/stub-resolv.conf"
