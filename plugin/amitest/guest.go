// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package amitest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sshGuest makes a guest of the root file system $1: cloud-init's default user, as
// Ubuntu has it, with a password and cloud-init's line for sudo, and an sshd on port
// $2 of the loopback, in namespaces that end with it. It takes any key for that of the
// account, as EC2 would have brought it there. All that a bake removes is there again.
const sshGuest = `set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs run "$1/run"
mkdir -p "$1/run/sshd" "$1/run/systemd/resolve"
cat /etc/resolv.conf >"$1/run/systemd/resolve/stub-resolv.conf"
rm -f "$1/usr/sbin/vpnami-firstboot" "$1/etc/iptables/rules.v4"
echo secret >"$1/root/.bash_history"
exec chroot "$1" /bin/sh -ec '
useradd --create-home --shell /bin/bash ubuntu
echo ubuntu:password | chpasswd
sed -i "/default_user:/,/name:/s/name: .*/name: ubuntu/" /etc/cloud/cloud.cfg
echo "ubuntu ALL=(ALL) NOPASSWD:ALL" >/etc/sudoers.d/90-cloud-init-users
install -d -o ubuntu -g ubuntu -m 0700 /home/ubuntu/.ssh
ssh-keygen -q -A
ssh-keygen -q -t ed25519 -N "" -f /run/key
install -o ubuntu -g ubuntu -m 0600 /run/key.pub /home/ubuntu/.ssh/authorized_keys
exec /usr/sbin/sshd -D -p "$0" -o ListenAddress=127.0.0.1 -o PidFile=none \
	-o AuthorizedKeysCommand="/usr/bin/echo %t %k" -o AuthorizedKeysCommandUser=nobody' "$2"
`

// Guest is a machine that a bake provisions over SSH.
type Guest struct {
	Root string // its files
	Port int    // of its sshd, on the loopback

	machine *exec.Cmd
}

// StartGuest makes a guest of a baked root.tar. It ends with the test.
func StartGuest(t *testing.T, rootTar string) *Guest {
	t.Helper()
	root := t.TempDir()
	Unpack(t, rootTar, root)
	return Boot(t, root)
}

// Unpack lays the files of a root.tar down.
func Unpack(t *testing.T, rootTar, root string) {
	t.Helper()
	if said, err := exec.CommandContext(t.Context(), "tar", "--extract", "--same-owner", "--same-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*",
		"--file", rootTar, "--directory", root).CombinedOutput(); err != nil {
		t.Fatalf("unpacking the image: %v\n%s", err, said)
	}
	if err := os.Chmod(root, 0o755); err != nil { //nolint:gosec // it becomes the machine's own "/"
		t.Fatal(err)
	}
}

// Boot makes a guest of the files that are there. It ends with the test.
func Boot(t *testing.T, root string) *Guest {
	t.Helper()
	g := &Guest{Root: root}
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.Port = free.Addr().(*net.TCPAddr).Port
	_ = free.Close()
	var said bytes.Buffer
	// Ended by the clean-up, which waits for it.
	g.machine = exec.CommandContext(context.WithoutCancel(t.Context()), "unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", sshGuest, "guest", g.Root, strconv.Itoa(g.Port))
	g.machine.Stdout, g.machine.Stderr = &said, &said
	if err := g.machine.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.End)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", g.Port))
		if err == nil {
			_ = c.Close()
			return g
		}
		if time.Now().After(deadline) {
			g.End()
			t.Fatalf("the guest has no sshd: %v\n%s", err, said.String())
		}
	}
}

// End turns it off. Its files stay as they are until the test ends.
func (g *Guest) End() {
	_ = g.machine.Process.Kill()
	_ = g.machine.Wait()
}

// CheckBaked looks at what a bake made of the guest, and compares the manifest that
// it left on this machine.
func (g *Guest) CheckBaked(t *testing.T, manifest string) {
	t.Helper()
	shadow, err := os.ReadFile(filepath.Join(g.Root, "etc", "shadow"))
	if err != nil || !strings.Contains(string(shadow), "\nubuntu:*:") {
		t.Errorf("the guest's account still has a password: %v", err)
	}
	for _, there := range []string{"usr/sbin/vpnami-firstboot", "etc/iptables/rules.v4", "usr/share/vpnami/manifest.json"} {
		if _, err := os.Stat(filepath.Join(g.Root, there)); err != nil {
			t.Errorf("not laid down over SSH: %v", err)
		}
	}
	for _, gone := range []string{"root/.bash_history", "home/ubuntu/.ssh/authorized_keys", "etc/ssh/ssh_host_ed25519_key", "usr/sbin/policy-rc.d"} {
		if _, err := os.Stat(filepath.Join(g.Root, gone)); err == nil {
			t.Errorf("/%s is left on the guest", gone)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(g.Root, "tmp", "vpnami.*")); left != nil {
		t.Errorf("left on the guest: %v", left)
	}
	inImage, err := os.ReadFile(filepath.Join(g.Root, "usr/share/vpnami/manifest.json"))
	if err != nil {
		t.Error(err)
	}
	if onHost, err := os.ReadFile(manifest); err != nil || !bytes.Equal(onHost, inImage) {
		t.Errorf("the manifest on the host is not the image's: %v", err)
	}
}
