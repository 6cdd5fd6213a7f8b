// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && boot

package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// TestBoot boots the disk image as a whole machine, as EC2's Nitro does: UEFI, an
// NVMe volume that is larger than the image, a serial console. Then it brings the
// machine a newer kernel, as an update would, and boots that (make verify-boot).
func TestBoot(t *testing.T) {
	if theOffice.Engine() != lab.Qemu {
		t.Fatal("this boots whole machines: LAB_VM=qemu")
	}
	vpn := launch(t, lab.LaunchSpec{
		Name: "vpn", PrivateAddress: gatewayPrivate, PublicAddress: gatewayPublic,
		Groups: []string{theOffice.VPC().GroupVPN}, UserData: "#vpnami\nrole: vpn\nsecret: vpn/office\n",
	})
	began := time.Now()
	ready(t, vpn)
	t.Logf("ready %.0f s after the launch, under emulation", time.Since(began).Seconds())

	t.Run("by UEFI from NVMe, on the serial console", func(t *testing.T) {
		inside(t, vpn, "test", "-d", "/sys/firmware/efi")
		if got := inside(t, vpn, "findmnt", "--noheadings", "--output", "SOURCE", "/"); got != "/dev/nvme0n1p2" {
			t.Errorf("the root is on %s", got)
		}
		if got := inside(t, vpn, "cat", "/sys/class/tty/console/active"); !strings.HasSuffix(got, "ttyS0") {
			t.Errorf("/dev/console is the last of %q", got)
		}
		saysOnConsole(t, vpn, `vpnami: ready: role=vpn`)
	})
	t.Run("the root has grown to the size of its volume", func(t *testing.T) {
		volume, root := number(t, vpn, "blockdev", "--getsize64", "/dev/nvme0n1"), number(t, vpn, "sh", "-c", "df -B1 --output=size / | tail -1")
		t.Logf("volume %d MiB, root %d MiB", volume>>20, root>>20)
		// The boot partition takes 127 MiB, ext4's own tables some percent.
		if root < volume*9/10 {
			t.Errorf("the root has %d of the volume's %d bytes", root, volume)
		}
	})
	t.Run("its packet filter, confined as it is, has its kernel translate address by address", func(t *testing.T) {
		const file, unit = "/etc/iptables/rules.v4", "netfilter-persistent.service"
		inside(t, vpn, "sed", "-i", `$ i\-A POSTROUTING -s 192.0.2.0/28 -j NETMAP --to 198.51.100.0/28`, file)
		inside(t, vpn, "systemctl", "reload", unit)
		if nat := inside(t, vpn, "iptables", "-t", "nat", "-S", "POSTROUTING"); !strings.Contains(nat, "NETMAP") {
			t.Errorf("it has not loaded the rule:\n%s", nat)
		}
		inside(t, vpn, "sed", "-i", "/NETMAP/d", file)
		inside(t, vpn, "systemctl", "reload", unit)
	})
	t.Run("it mounts by UUID", func(t *testing.T) {
		for line := range strings.Lines(inside(t, vpn, "grep", "-v", "^#", "/etc/fstab")) {
			if !strings.HasPrefix(line, "UUID=") {
				t.Errorf("fstab has %q", line)
			}
		}
		if got := inside(t, vpn, "findmnt", "--verify"); !strings.Contains(got, "Success") {
			t.Errorf("findmnt says of fstab:\n%s", got)
		}
		if got := inside(t, vpn, "findmnt", "--noheadings", "--output", "FSTYPE", "/boot/efi"); got != "vfat" {
			t.Errorf("the boot partition is %q", got)
		}
	})
	t.Run("it takes little of the disk", func(t *testing.T) {
		used := number(t, vpn, "sh", "-c", "df -B1 --output=used / /boot/efi | awk 'NR > 1 { n += $1 } END { print n }'")
		// The journal of the boot is in it, and on /boot/efi the second copy of the kernel.
		t.Logf("used: %d MiB", used>>20)
		if used > mostUsed {
			t.Errorf("%d MiB are used, at most %d are wanted", used>>20, mostUsed>>20)
		}
	})
	t.Run("the root was checked before it was mounted", func(t *testing.T) {
		// By the initrd, which tells systemd by this file that it need not.
		inside(t, vpn, "test", "-e", "/run/initramfs/fsck-root")
	})
	t.Run("no service has failed", func(t *testing.T) {
		if failed := inside(t, vpn, "systemctl", "--failed", "--plain", "--no-legend"); failed != "" {
			t.Error(failed)
		}
	})
	t.Run("its kernel is set as laid down", func(t *testing.T) { kernelSettings(t, vpn) })
	t.Run("its folders are mounted as laid down", func(t *testing.T) { mountedAsLaidDown(t, vpn) })
	t.Run("AppArmor confines the daemon", func(t *testing.T) { underProfile(t, vpn, host(t, "client1"), host(t, "client2")) })
	t.Run("who calls sudo is recorded", func(t *testing.T) { recordsSudo(t, vpn) })
	t.Run("it boots a kernel that came by an update", func(t *testing.T) { kernelUpdate(t, vpn) })
	t.Run("and is the gateway it was", func(t *testing.T) {
		servicesRun(t, vpn)
		routesAndFilters(t, vpn)
		connect(t, host(t, "client1"), theOffice.profile("client1"))
	})
}

// kernelUpdate installs a newer kernel by its package, reboots, and takes the old
// one away.
func kernelUpdate(t *testing.T, i *lab.Instance) {
	old := inside(t, i, "uname", "-r")
	packages := newerKernel(t)
	if _, err := i.ExecInput(within(t, bootTime()), packages, "tar", "--extract", "--directory", "/var/tmp"); err != nil {
		t.Fatal(err)
	}
	// Nothing but the packages and their hooks touches the boot partition.
	out, err := i.Exec(within(t, 2*bootTime()), "sh", "-c", "DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes install /var/tmp/*.deb 2>&1 && rm /var/tmp/*.deb")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("/boot/efi:\n%s", inside(t, i, "sh", "-c", "df -h /boot/efi; cd /boot/efi; find . -type f | sort"))
	if err := i.Reboot(within(t, bootTime())); err != nil {
		t.Fatal(err)
	}
	ready(t, i)
	now := inside(t, i, "uname", "-r")
	if now == old {
		t.Fatalf("it still boots %s; the packages said:\n%s", old, out)
	}
	t.Logf("booted %s, then %s", old, now)
	out, err = i.Exec(within(t, bootTime()), "sh", "-c", "DEBIAN_FRONTEND=noninteractive dpkg --force-depends --purge linux-image-"+old+" 2>&1")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	left := inside(t, i, "find", "/boot/efi")
	if strings.Contains(left, old) || !strings.Contains(left, now) {
		t.Errorf("the boot partition has kernels that are gone, or lacks the one that runs:\n%s", left)
	}
}

// newerKernel downloads what apt would install on the image to have the kernel of
// its release's backports, and returns it as a tar. The machines of the lab have
// no way to an archive.
func newerKernel(t *testing.T) []byte {
	t.Helper()
	image := os.Getenv("VPNAMI_IMAGE")
	data, err := os.ReadFile(filepath.Join(image, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Release, Architecture string
		Sources               []string
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	backports := strings.Replace(manifest.Sources[0], " "+manifest.Release+" ", " "+manifest.Release+"-backports ", 1)
	if err := os.WriteFile(filepath.Join(dir, "sources.list"), []byte(strings.Join(append(manifest.Sources, backports), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, "tar", "--extract", "--file", filepath.Join(image, "root.tar"), "--directory", dir, "./var/lib/dpkg/status")
	apt := func(args ...string) {
		command(t, "apt-get", append([]string{
			"-q", "-o", "Dir::State=" + dir, "-o", "Dir::State::lists=" + dir + "/lists", "-o", "Dir::State::status=" + dir + "/var/lib/dpkg/status",
			"-o", "Dir::Cache=" + dir, "-o", "Dir::Cache::archives=" + dir + "/archives", "-o", "APT::Architecture=" + manifest.Architecture,
			"-o", "Dir::Etc::sourcelist=" + dir + "/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null", "-o", "APT::Sandbox::User=root",
		}, args...)...)
	}
	apt("update")
	apt("install", "--yes", "--download-only", "--no-install-recommends", "--target-release", manifest.Release+"-backports", "linux-image-cloud-"+manifest.Architecture)
	return command(t, "sh", "-c", "cd "+dir+"/archives && ls -l *.deb >&2 && tar --create *.deb")
}

func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(within(t, 5*time.Minute), name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("running %s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes()
}

var digits = regexp.MustCompile(`\d+`)

// number is the number that a command on the instance prints.
func number(t *testing.T, i *lab.Instance, args ...string) int64 {
	t.Helper()
	text := inside(t, i, args...)
	n, err := strconv.ParseInt(digits.FindString(text), 10, 64)
	if err != nil {
		t.Fatal(fmt.Errorf("%q says %q: %w", args, text, err))
	}
	return n
}
