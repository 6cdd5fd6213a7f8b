// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// needRoot skips, or fails where nothing may be skipped.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("VPNAMI_REQUIRE") == "1" {
		t.Fatal("this test needs root")
	}
	t.Skip("needs root")
}

// opened is a sandbox with a root file system that borrows the host's programs.
func opened(t *testing.T) (*sandbox, *communicator) {
	t.Helper()
	needRoot(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	s, err := openSandbox(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	root := t.TempDir()
	for _, dir := range []string{"usr", "etc", "proc", "sys", "dev", "tmp", "run", "home"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+link, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(s.command(ctx, "mount", "--bind", "--read-only", "/usr", filepath.Join(root, "usr")), "borrowing /usr"); err != nil {
		t.Fatal(err)
	}
	if err := s.prepare(ctx, root); err != nil {
		t.Fatal(err)
	}
	return s, &communicator{sandbox: s, root: root}
}

func start(t *testing.T, c *communicator, command string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	cmd := &packersdk.RemoteCmd{Command: command, Stdout: &out, Stderr: &out}
	if err := c.Start(context.Background(), cmd); err != nil {
		t.Fatal(err)
	}
	status := cmd.Wait()
	return out.String(), status
}

func mountsBelow(t *testing.T, dir string) []string {
	t.Helper()
	data, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir) {
			found = append(found, f[1])
		}
	}
	return found
}

func TestCommunicatorRoot(t *testing.T) {
	s, c := opened(t)
	t.Run("a command is the guest's shell's alone", func(t *testing.T) {
		// The host's shell would expand both before the guest's sees them.
		if got, status := start(t, c, `a=x; printf '%s|%s|' "$a" "`+"`echo $a`"+`"; pwd; exit 7`); got != "x|x|/\n" || status != 7 {
			t.Errorf("got %q, status %d", got, status)
		}
	})
	t.Run("its own processes, no disk, the host's /sys out of reach", func(t *testing.T) {
		got, _ := start(t, c, `ls /proc | grep -c '^[0-9]'; ls /dev | tr '\n' ' '; touch /sys/kernel/x 2>&1; test -e /run/systemd/system || echo none`)
		if !strings.Contains(got, "Read-only file system") || !strings.Contains(got, "none") || strings.Contains(got, "vda") || strings.Contains(got, "sda") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("files", func(t *testing.T) {
		if err := c.Upload("/home/it's", strings.NewReader("hello"), nil); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := c.Download("/home/it's", &got); err != nil || got.String() != "hello" {
			t.Errorf("got %q, %v", got.String(), err)
		}
		if err := c.Download("/home/nothing", &got); err == nil || !strings.Contains(err.Error(), `"/home/nothing"`) {
			t.Errorf("a file that is not there: %v", err)
		}
		if err := c.Upload("/nowhere/x", strings.NewReader("x"), nil); err == nil {
			t.Error("uploaded into a folder that is not there")
		}
	})
	t.Run("folders, with and without themselves", func(t *testing.T) {
		src := filepath.Join(t.TempDir(), "folder")
		write(t, filepath.Join(src, "a", "b"), "deep")
		write(t, filepath.Join(src, "not"), "me")
		if err := c.UploadDir("/home/with", src, []string{"./not"}); err != nil {
			t.Fatal(err)
		}
		if err := c.UploadDir("/home/without", src+"/", nil); err != nil {
			t.Fatal(err)
		}
		got, _ := start(t, c, "cd /home && find with without -type f | sort")
		if want := "with/folder/a/b\nwithout/a/b\nwithout/not\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		dst := t.TempDir()
		if err := c.DownloadDir("/home/without/", dst, nil); err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(filepath.Join(dst, "a", "b")); string(data) != "deep" {
			t.Errorf("got %q", data)
		}
		if err := c.UploadDir("/home/x", filepath.Join(src, "missing"), nil); err == nil {
			t.Error("uploaded a folder that is not there")
		}
	})
	t.Run("a daemon does not hold up its command", func(t *testing.T) {
		began := time.Now()
		if _, status := start(t, c, "sleep 100 & echo started"); status != 0 || time.Since(began) > 3*killedDelay {
			t.Errorf("status %d after %s", status, time.Since(began))
		}
	})
	t.Run("the host sees none of its mounts", func(t *testing.T) {
		if got := mountsBelow(t, c.root); got != nil {
			t.Errorf("mounted on the host: %v", got)
		}
	})
	t.Run("closing ends all of it", func(t *testing.T) {
		cmd := &packersdk.RemoteCmd{Command: "trap '' TERM INT HUP; while :; do sleep 1; done"}
		if err := c.Start(context.Background(), cmd); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.Close()
		s.Close()
		if status := cmd.Wait(); status == 0 || time.Since(began) > 2*time.Second {
			t.Errorf("ended with status %d after %s", status, time.Since(began))
		}
		if _, err := os.Stat("/proc/" + strconv.Itoa(s.holder.Process.Pid)); err == nil {
			t.Error("process 1 of the sandbox is left")
		}
		// Were something mounted still, this would not be an empty folder.
		if entries, err := os.ReadDir(filepath.Join(c.root, "usr")); err != nil || len(entries) != 0 {
			t.Errorf("below usr: %v, %v", entries, err)
		}
	})
}

// The disk image that is made of a small tree is one that other tools read back.
func TestDiskWriteRoot(t *testing.T) {
	needRoot(t)
	root, dir := t.TempDir(), t.TempDir()
	c, err := prepare(t, map[string]any{"disk_size": "1G", "architecture": "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	d := newDisk(c)
	write(t, filepath.Join(root, "boot", "vmlinuz-6.1-x"), "kernel")
	write(t, filepath.Join(root, "boot", "initrd.img-6.1-x"), "initrd")
	write(t, filepath.Join(root, d.firmware.loader), "loader")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	path := filepath.Join(dir, "disk.raw")
	epoch := time.Date(2025, 11, 15, 9, 30, 12, 0, time.UTC)
	f, err := d.write(ctx, path, root, t.TempDir(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	if f.Bytes != 1<<30 {
		t.Errorf("%d bytes", f.Bytes)
	}
	read := func(name string, args ...string) string {
		var out bytes.Buffer
		cmd := hostCommand(ctx, name, args...)
		cmd.Stdout = &out
		if err := run(cmd, "reading back"); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := read("sgdisk", "--verify", "--print", path); !strings.Contains(got, "No problems found") || !strings.Contains(got, "EF00") || !strings.Contains(got, "8304") {
		t.Errorf("sgdisk says:\n%s", got)
	}
	esp := path + "@@1048576"
	for name, want := range map[string]string{
		"::/EFI/BOOT/BOOTX64.EFI":             "loader",
		"::/debian/6.1-x/linux":               "kernel",
		"::/debian/6.1-x/initrd.img-6.1-x":    "initrd",
		"::/loader/entries/debian-6.1-x.conf": d.loaderEntry("6.1-x"),
	} {
		if got := read("mtype", "-i", esp, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := read("mdir", "-i", esp, "::/"); !strings.Contains(got, "Serial Number is "+d.espUUID()) {
		t.Errorf("fstab waits for %s, and the boot partition is\n%s", d.espUUID(), got)
	}
	part := filepath.Join(dir, "part")
	read("dd", "if="+path, "of="+part, "bs=1M", "skip="+strconv.Itoa(int(d.rootStart()/mib)), "conv=sparse", "status=none")
	read("e2fsck", "-f", "-n", part)
	if got := read("dumpe2fs", "-h", part); !strings.Contains(got, "Filesystem UUID:          "+d.rootID) {
		t.Errorf("fstab waits for %s, and the root is\n%s", d.rootID, got)
	}
	if got := read("debugfs", "-R", "cat /boot/vmlinuz-6.1-x", part); got != "kernel" {
		t.Errorf("the kernel in the root: %q", got)
	}

	// The same tree in another place, copied in another order and read since, on a
	// host with other defaults, seconds later: the same bytes.
	again := filepath.Join(t.TempDir(), "elsewhere")
	read("cp", "--archive", root, again)
	for _, name := range []string{"boot/vmlinuz-6.1-x", d.firmware.loader} {
		if _, err := os.ReadFile(filepath.Join(again, name)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(1100 * time.Millisecond) // the times of a file system are of a second
	second, err := d.write(ctx, filepath.Join(t.TempDir(), "disk.raw"), again, t.TempDir(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	if second.SHA256 != f.SHA256 {
		t.Errorf("the same tree gave %s, and then %s", f.SHA256, second.SHA256)
	}
	// And would be caught if it did not.
	write(t, filepath.Join(again, "etc", "other"), "x")
	third, err := d.write(ctx, filepath.Join(t.TempDir(), "disk.raw"), again, t.TempDir(), epoch)
	if err != nil || third.SHA256 == f.SHA256 {
		t.Errorf("another tree gave the same disk, %v", err)
	}
	for i, name := range []string{"a.qcow2", "b.qcow2"} {
		q, err := convert(ctx, path, filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			second = q
		} else if q.SHA256 != second.SHA256 || q.Bytes > f.Bytes/100 {
			t.Errorf("the same disk gave a qcow2 of %d bytes %s, and then %s", q.Bytes, second.SHA256, q.SHA256)
		}
	}
	read("qemu-img", "compare", path, filepath.Join(dir, "a.qcow2"))
}
