// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/acctest"

	"github.com/vpnami/packer-plugin-vpnami/plugin/amitest"
)

// Acceptance tests bake: they need root, the tools of a bake, a mirror and a
// minute each. PACKER_ACC=1 switches them on, as with every plugin of Packer;
// VPNAMI_REQUIRE=1 does too, and lets nothing be skipped.
func acceptance(t *testing.T) []string {
	t.Helper()
	if os.Getenv("VPNAMI_REQUIRE") == "1" {
		t.Setenv(acctest.TestEnvVar, "1")
	}
	if os.Getenv(acctest.TestEnvVar) == "" {
		t.Skipf("acceptance tests bake; %s=1 switches them on", acctest.TestEnvVar)
	}
	if os.Geteuid() != 0 {
		t.Fatal("acceptance tests bake, and must be root")
	}
	if programs, err := filepath.Glob("provisioner/programs/vpnami-firstboot_linux_*"); err != nil || len(programs) == 0 {
		t.Fatal("the plugin would be without vpnami-firstboot: make build")
	}
	dir := t.TempDir()
	env := packerEnv(t, dir, "")
	for _, name := range []string{"PACKER_PLUGIN_PATH", "PACKER_CONFIG_DIR", "PACKER_CACHE_DIR", "CHECKPOINT_DISABLE", "PACKER_NO_COLOR"} {
		t.Setenv(name, valueOf(env, name))
	}
	return env
}

const template = `
source "vpnami-bootstrap" "acc" {
  distribution     = "debian"
  release          = %q
  output_directory = %q
  disk_size        = "1G"
  packages         = ["less"]
}
build {
  sources = ["source.vpnami-bootstrap.acc"]
  provisioner "shell" {
    inline = ["set -eu", "price='$5'; test \"$price\" = '$5'", "test ! -e /run/systemd/system", "echo left >/tmp/left"]
  }
  provisioner "vpnami" {
    packages = ["tree"]
  }
}
`

// The image of each Debian release, baked for real and looked at.
func TestAccBake(t *testing.T) {
	env := acceptance(t)
	images, err := filepath.Abs("../images")
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../scripts/pending-updates")
	if err != nil {
		t.Fatal(err)
	}
	for _, release := range []string{"bookworm", "trixie"} {
		t.Run(release, func(t *testing.T) {
			t.Chdir(t.TempDir())
			out := filepath.Join(t.TempDir(), "image")
			before := mounts(t)
			acctest.TestPlugin(t, &acctest.PluginTestCase{
				Name:     "bake_" + release,
				Type:     "vpnami-bootstrap",
				Template: fmt.Sprintf(template, release, out),
				Check: func(cmd *exec.Cmd, log string) error {
					if code := cmd.ProcessState.ExitCode(); code != 0 {
						return fmt.Errorf("packer ended with %d; the end of its log:\n%s", code, endOf(log))
					}
					return nil
				},
			})
			checkImage(t, out, release)
			if release == "trixie" {
				checkPending(t, filepath.Join(out, "manifest.json"), script)
				bakeAMI(t, env, images, amitest.StartGuest(t, filepath.Join(out, "root.tar")))
			}
			if after := mounts(t); !slices.Equal(before, after) {
				t.Errorf("mounts before: %v\nafter: %v", before, after)
			}
			if left := partial(t, out); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func checkImage(t *testing.T, out, release string) {
	t.Helper()
	var m struct {
		Release string
		Files   []struct {
			Name   string
			Bytes  int64
			SHA256 string
		}
		Archives []struct{ Date time.Time }
		Image    struct {
			Packages []struct{ Name, Version string }
			Files    []struct{ Path, SHA256 string }
		}
	}
	data, err := os.ReadFile(filepath.Join(out, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if m.Release != release || len(m.Files) != 3 || m.Files[1].Bytes != 1<<30 {
		t.Fatalf("manifest: %+v", m.Files)
	}
	for _, f := range m.Files {
		sum := sha256.New()
		data, err := os.Open(filepath.Join(out, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		if _, err := io.Copy(sum, data); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
			t.Errorf("%s has SHA-256 %s, and the manifest says %s", f.Name, got, f.SHA256)
		}
	}
	beside, err := os.ReadFile(filepath.Join(out, "sbom.cdx.json"))
	if err != nil || !bytes.Contains(beside, []byte("pkg:deb/debian/openvpn@")) || !bytes.Contains(beside, []byte("pkg:golang/github.com/aws/aws-sdk-go-v2@")) {
		t.Errorf("the SBOM beside the image has not OpenVPN, or not what vpnami-firstboot is built from: %v", err)
	}
	for _, want := range []string{"openvpn", "iptables-persistent", "openssh-server", "unattended-upgrades", "cloud-init", "less", "tree"} {
		if !slices.ContainsFunc(m.Image.Packages, func(p struct{ Name, Version string }) bool { return p.Name == want }) {
			t.Errorf("package %s is not in the image", want)
		}
	}

	f, err := os.Open(filepath.Join(out, "root.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	headers := map[string]*tar.Header{}
	content := map[string]string{}
	var newest time.Time
	for _, a := range m.Archives {
		if a.Date.After(newest) {
			newest = a.Date
		}
	}
	r := tar.NewReader(bufio.NewReader(f))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "."), "/")
		headers[name] = h
		if h.Uname != "" {
			t.Fatalf("%s has an owner by name, %q: names are the image's own", name, h.Uname)
		}
		if h.ModTime.After(newest) {
			t.Errorf("%s is of %s, and the image of %s", name, h.ModTime, newest)
		}
		if h.Size < 4096 && h.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			content[name] = string(data)
		}
	}
	for _, e := range m.Image.Files {
		if headers[e.Path] == nil {
			t.Errorf("%s was laid down and is not in root.tar", e.Path)
		}
	}
	for _, gone := range []string{"/usr/sbin/policy-rc.d", "/etc/apt/apt.conf.d/99mmdebstrap", "/etc/dpkg/dpkg.cfg.d/99mmdebstrap", "/tmp/left", "/etc/shadow-", "/etc/ssh/ssh_host_ed25519_key", "/var/lib/cloud/instance", "/usr/share/doc/openvpn/examples"} {
		if headers[gone] != nil {
			t.Errorf("%s is in the image", gone)
		}
	}
	if h := headers["/etc/machine-id"]; h == nil || h.Size != 0 {
		t.Errorf("/etc/machine-id: %+v", h)
	}
	if h := headers["/etc/shadow"]; h == nil || h.Mode&0o7777 != 0o640 || h.Uid != 0 || h.Gid == 0 {
		t.Errorf("/etc/shadow: %+v", h)
	}
	for _, empty := range []string{"/tmp", "/run", "/proc", "/sys", "/dev"} {
		for name := range headers {
			// mmdebstrap makes the few device nodes that a boot without devtmpfs needs.
			if empty != "/dev" && strings.HasPrefix(name, empty+"/") {
				t.Errorf("%s is in the image", name)
			}
		}
	}
	if !strings.Contains(content["/etc/fstab"], "UUID=") {
		t.Errorf("/etc/fstab: %q", content["/etc/fstab"])
	}
	// The rules are ours, not those of the machine that baked.
	if !strings.Contains(content["/etc/iptables/rules.v4"], "# vpnami") {
		t.Errorf("rules.v4: %q", content["/etc/iptables/rules.v4"])
	}
}

// Ctrl-C at any time, and Packer killed: no mount, no process, no half image.
func TestAccInterrupted(t *testing.T) {
	env := acceptance(t)
	for _, tt := range []struct {
		when   string // a line of Packer's output
		signal syscall.Signal
	}{
		{"running apt-get update", syscall.SIGINT},
		{"installing remaining packages", syscall.SIGKILL},
		{"vpnami: Installing packages...", syscall.SIGINT},
	} {
		t.Run(fmt.Sprintf("%s at %s", tt.signal, strings.Trim(tt.when, ".")), func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "image")
			if err := os.WriteFile(filepath.Join(dir, "t.pkr.hcl"), fmt.Appendf(nil, template, "trixie", out), 0o600); err != nil {
				t.Fatal(err)
			}
			before := mounts(t)
			said, err := interrupted(t, env, filepath.Join(dir, "t.pkr.hcl"), tt.when, tt.signal)
			if err == nil {
				t.Fatalf("the bake went through:\n%s", said)
			}
			// After a kill, the plugin ends by itself within a moment.
			deadline := time.Now().Add(15 * time.Second)
			for len(processes(t, dir)) > 0 && time.Now().Before(deadline) {
				time.Sleep(50 * time.Millisecond)
			}
			if left := processes(t, dir); left != nil {
				t.Errorf("processes left: %v", left)
			}
			if after := mounts(t); !slices.Equal(before, after) {
				t.Errorf("mounts before: %v\nafter: %v", before, after)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("a half image has the final name")
			}
			if left := partial(t, out); tt.signal == syscall.SIGINT && left != nil {
				t.Errorf("left behind: %v\n%s", left, said)
			}
		})
	}
}

// interrupted runs a bake until it says when, and then sends it a signal.
func interrupted(t *testing.T, env []string, template, when string, signal syscall.Signal) (string, error) {
	t.Helper()
	sent := false
	said, err := watched(t, env, template, func(line string, group int) {
		if sent || !strings.Contains(line, when) {
			return
		}
		sent = true
		time.Sleep(300 * time.Millisecond) // into the middle of it
		// As a terminal does: to the whole group.
		if err := syscall.Kill(-group, signal); err != nil {
			t.Error(err)
		}
	})
	if !sent {
		t.Fatalf("the bake never said %q:\n%s", when, said)
	}
	return said, err
}

// watched runs a bake and shows each line of its output to watch, with the
// process group that it runs in.
func watched(t *testing.T, env []string, template string, watch func(line string, group int)) (string, error) {
	t.Helper()
	cmd := exec.Command(need(t, "packer"), "build", "-color=false", template)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A bake that hangs must not hang the test.
	hung := time.AfterFunc(10*time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer hung.Stop()
	var said strings.Builder
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		said.WriteString(scan.Text() + "\n")
		watch(scan.Text(), cmd.Process.Pid)
	}
	return said.String(), cmd.Wait()
}

func mounts(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		// Other tests' mounts may come and go; a bake's are in its folder.
		if f := strings.Fields(line); strings.Contains(f[1], ".partial-") {
			points = append(points, f[1])
		}
	}
	return points
}

// processes are those that speak of dir.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range all {
		cmdline, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		root, _ := os.Readlink(filepath.Join(p, "root"))
		for _, s := range []string{string(cmdline), cwd, root} {
			if strings.Contains(s, dir+"/") {
				found = append(found, filepath.Base(p)+": "+strings.ReplaceAll(string(cmdline), "\x00", " "))
				break
			}
		}
	}
	return found
}

func partial(t *testing.T, out string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".partial-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func endOf(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-4000):])
}
