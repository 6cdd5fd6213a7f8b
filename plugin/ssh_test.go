// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/acctest"
)

const overSSHTemplate = `
source "null" "guest" {
  ssh_host             = "127.0.0.1"
  ssh_port             = %d
  ssh_username         = "ubuntu"
  ssh_private_key_file = %q
  ssh_timeout          = "30s"
}
build {
  sources = ["source.null.guest"]
  provisioner "vpnami" {
    manifest_path = %q
  }
}
`

// sshGuest makes a guest of the root file system $1: an account that has a
// password and sudo, and an sshd on port $2 of the loopback, in namespaces that
// end with it. All that a bake removes is there again.
const sshGuest = `set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs run "$1/run"
mkdir -p "$1/run/sshd" "$1/run/systemd/resolve"
cat /etc/resolv.conf >"$1/run/systemd/resolve/stub-resolv.conf"
rm "$1/usr/sbin/vpnami-firstboot" "$1/etc/iptables/rules.v4"
echo secret >"$1/root/.bash_history"
exec chroot "$1" /bin/sh -ec '
useradd --create-home --shell /bin/bash ubuntu
echo ubuntu:password | chpasswd
echo "ubuntu ALL=(ALL) NOPASSWD:ALL" >/etc/sudoers.d/90-test
install -d -o ubuntu -g ubuntu -m 0700 /home/ubuntu/.ssh
ssh-keygen -q -A
ssh-keygen -q -t ed25519 -N "" -f /run/key
install -o ubuntu -g ubuntu -m 0600 /run/key.pub /home/ubuntu/.ssh/authorized_keys
cat /run/key >/root/test-key
chmod 0600 /root/test-key
exec /usr/sbin/sshd -D -p "$0" -o ListenAddress=127.0.0.1 -o PidFile=none' "$2"
`

// overSSH has the provisioner make the image once more, of a guest that it reaches
// by SSH as a user with sudo.
func overSSH(t *testing.T, out string) {
	t.Helper()
	root := t.TempDir()
	if said, err := exec.Command("tar", "--extract", "--same-owner", "--same-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*",
		"--file", filepath.Join(out, "root.tar"), "--directory", root).CombinedOutput(); err != nil {
		t.Fatalf("unpacking the image: %v\n%s", err, said)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	_ = free.Close()
	var said bytes.Buffer
	guest := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", sshGuest, "guest", root, strconv.Itoa(port))
	guest.Stdout, guest.Stderr = &said, &said
	if err := guest.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = guest.Process.Kill()
		_ = guest.Wait()
	}()
	key := filepath.Join(root, "root", "test-key")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(deadline) {
			_ = guest.Process.Kill()
			t.Fatalf("the guest has no sshd: %v\n%s", err, said.String())
		}
	}
	private := filepath.Join(t.TempDir(), "key")
	data, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(private, data, 0o600), os.Remove(key)); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(t.TempDir(), "manifest.json")
	acctest.TestPlugin(t, &acctest.PluginTestCase{
		Name:     "over_ssh",
		Type:     "vpnami",
		Template: fmt.Sprintf(overSSHTemplate, port, private, manifest),
		Check: func(cmd *exec.Cmd, log string) error {
			if code := cmd.ProcessState.ExitCode(); code != 0 {
				return fmt.Errorf("packer ended with %d; the end of its log:\n%s", code, endOf(log))
			}
			return nil
		},
	})
	shadow, _ := os.ReadFile(filepath.Join(root, "etc", "shadow"))
	if !strings.Contains(string(shadow), "\nubuntu:*:") {
		t.Error("the guest's account still has a password")
	}
	for _, there := range []string{"usr/sbin/vpnami-firstboot", "etc/iptables/rules.v4", "usr/share/vpnami/manifest.json"} {
		if _, err := os.Stat(filepath.Join(root, there)); err != nil {
			t.Errorf("not laid down over SSH: %v", err)
		}
	}
	for _, gone := range []string{"root/.bash_history", "home/ubuntu/.ssh/authorized_keys", "etc/ssh/ssh_host_ed25519_key", "usr/sbin/policy-rc.d"} {
		if _, err := os.Stat(filepath.Join(root, gone)); err == nil {
			t.Errorf("/%s is left on the guest", gone)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(root, "tmp", "vpnami.*")); left != nil {
		t.Errorf("left on the guest: %v", left)
	}
	inImage, _ := os.ReadFile(filepath.Join(root, "usr/share/vpnami/manifest.json"))
	if onHost, err := os.ReadFile(manifest); err != nil || !bytes.Equal(onHost, inImage) {
		t.Errorf("the manifest on the host is not the image's: %v", err)
	}
}
