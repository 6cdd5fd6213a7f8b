// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && bench

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/plugin/amitest"
)

// unmade takes away from a baked root what the bake of an AMI installs, and leaves a
// guest that is up to date, as Canonical's image is after its updates. sshd stays,
// over which it is baked.
const unmade = `set -e
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 0755 /usr/sbin/policy-rc.d
apt-get --quiet=2 update
apt-get --quiet=2 --yes dist-upgrade
apt-get --quiet=2 --yes purge auditd openvpn iptables-persistent netfilter-persistent unattended-upgrades chrony libpam-pwquality
apt-get --quiet=2 --yes autoremove --purge
apt-get clean
rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/*
`

// aptAlone is what the bake has to wait for in any case, with the bake's own options.
const aptAlone = `set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 0755 /usr/sbin/policy-rc.d
apt-get --quiet=2 update
apt-get --quiet=2 --yes --no-install-recommends -o Dpkg::Options::=--force-unsafe-io dist-upgrade \
	apparmor auditd ca-certificates chrony iptables iptables-persistent libpam-pwquality openssh-server openvpn unattended-upgrades
`

// TestBenchBake measures the provisioner of an AMI on a guest that is up to date,
// beside apt alone on a copy of it, in turns.
func TestBenchBake(t *testing.T) {
	env := acceptance(t)
	images, err := filepath.Abs("../images")
	if err != nil {
		t.Fatal(err)
	}
	stock := t.TempDir()
	amitest.Unpack(t, filepath.Join(os.Getenv("VPNAMI_IMAGE"), "root.tar"), stock)
	inRoot(t, stock, unmade)

	var ours, alone []time.Duration
	for range 3 {
		root := copied(t, stock)
		settle()
		began := time.Now()
		inRoot(t, root, aptAlone)
		alone = append(alone, time.Since(began))

		b := newAMIBake(t, env, images, mototest.Start(t))
		g := amitest.Boot(t, copied(t, stock))
		b.Port = g.Port
		settle()
		said, err := b.Packer(t, "commit=abc1234")
		if err != nil {
			t.Fatalf("baking the AMI: %v\n%s", err, said)
		}
		ours = append(ours, amitest.Share(said))
		t.Log(strings.Join(stepTook.FindAllString(said, -1), "; "))
		g.CheckBaked(t, b.Manifest)
		g.End()
	}
	slices.Sort(ours)
	slices.Sort(alone)
	own, apt := ours[1].Seconds(), alone[1].Seconds()
	t.Logf("AMI bake on an updated guest: provisioner %.1f s (bound 60), apt alone %.1f s: %.2f times (bound 1.3); own share %.1f s", own, apt, own/apt, own-apt)
}

// stepTook is what the provisioner says of a step.
var stepTook = regexp.MustCompile(`[A-Z][^:\n]*: done in [0-9.]+ s`)

// settle has the disk take what was copied, so that nobody who is measured waits for it.
func settle() { unix.Sync() }

// inRoot runs a script in a root file system, with this machine's network.
func inRoot(t *testing.T, root, script string) {
	t.Helper()
	const enter = `set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs run "$1/run"
mkdir -p "$1/run/systemd/resolve"
cat /etc/resolv.conf >"$1/run/systemd/resolve/stub-resolv.conf"
exec chroot "$1" /bin/sh -c "$2"`
	if said, err := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", enter, "root", root, script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}

func copied(t *testing.T, root string) string {
	t.Helper()
	to := t.TempDir()
	if said, err := exec.Command("cp", "-a", root+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("copying the guest: %v\n%s", err, said)
	}
	return to
}
