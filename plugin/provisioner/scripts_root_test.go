// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machine is where a script of the guest runs for real: in a mount namespace in
// which the folders that it looks at and writes in are those of a test, and with
// programs of the test's before the host's.
type machine struct{ dir string }

// shown are the folders of the guest, each with its name in the test's folder.
func (m machine) shown() map[string]string {
	return map[string]string{
		"/usr/sbin": "sbin", "/var/lib/dpkg": "dpkg", "/var/lib/apt/lists": "lists",
		"/var/cache/apt": "cache", "/run": "run",
	}
}

func newMachine(t *testing.T) machine {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("VPNAMI_REQUIRE") == "1" {
			t.Fatal("this test needs root")
		}
		t.Skip("needs root")
	}
	m := machine{t.TempDir()}
	for at, name := range m.shown() {
		if err := os.Mkdir(filepath.Join(m.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(at); err != nil {
			t.Skipf("the host is not of Debian's family: %v", err)
		}
	}
	m.has(t, "debconf-set-selections", "cat >/dev/null")
	// Seconds pass when the script sleeps, and not otherwise: five minutes take
	// none.
	m.has(t, "date", `cat "$MACHINE/clock" 2>/dev/null || echo 0`)
	m.has(t, "sleep", `echo $(($(date) + $1)) >"$MACHINE/clock"`)
	return m
}

// has gives the machine a program.
func (m machine) has(t *testing.T, name, script string) {
	t.Helper()
	path := filepath.Join(m.dir, "bin", name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
}

func (m machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m machine) file(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(m.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// command is a script of ours on the machine, in a process group of its own.
func (m machine) command(t *testing.T, out io.Writer, name string, args ...string) *exec.Cmd {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("scripts", name))
	if err != nil {
		t.Fatal(err)
	}
	var mounts strings.Builder
	for at, name := range m.shown() {
		mounts.WriteString("mount --bind " + quote(m.path(name)) + " " + at + "\n")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "/bin/sh", "-ec",
		mounts.String() + `PATH="$MACHINE/bin:$PATH" exec /bin/sh "$@"`, "machine", script}, args...)...)
	cmd.Env = append(os.Environ(), "MACHINE="+m.dir)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// run runs a script to its end, and returns what it said and its status.
func (m machine) run(t *testing.T, name string, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	cmd := m.command(t, &out, name, args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// hold locks a file as apt and dpkg do.
func (m machine) hold(t *testing.T, name string) (release func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(m.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}

// A lock that somebody holds is waited for, within the limit.
func TestWaitLockRoot(t *testing.T) {
	for name, said := range map[string]string{
		"dpkg/lock-frontend":           "/var/lib/dpkg/lock-frontend",
		"dpkg/lock":                    "/var/lib/dpkg/lock",
		"lists/lock":                   "/var/lib/apt/lists/lock",
		"cache/archives/lock":          "/var/cache/apt/archives/lock",
		"run/unattended-upgrades.lock": "/run/unattended-upgrades.lock",
	} {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			m := newMachine(t)
			release := m.hold(t, name)
			out, status := m.run(t, "wait.sh", "7")
			if status != 1 || !strings.Contains(out, "waiting for the end of "+said+"\n") || !strings.Contains(out, said+" is still in use after 7 s") {
				t.Errorf("a lock is held: status %d, %q", status, out)
			}
			if clock := m.file(t, "clock"); clock != "7" {
				t.Errorf("gave up after %s s; want 7", clock)
			}
			release()
			if out, status := m.run(t, "wait.sh", "7"); status != 0 || out != "" {
				t.Errorf("no lock is held: status %d, %q", status, out)
			}
		})
	}
}

// The daily updates: their timers are stopped before anything else, and they are
// waited for whether they run, wait for the network or have been asked to start.
func TestWaitServicesRoot(t *testing.T) {
	const systemctl = `echo "$1 $*" | sed 's/ .*timer/ timers/' >>"$MACHINE/asked"
case "$*" in
*ActiveState*apt-daily-upgrade.service) [ "$(date)" -ge "$UNTIL" ] && echo inactive || echo "$STATE" ;;
*ActiveState*) echo inactive ;;
*Job*apt-daily-upgrade.service) [ "$(date)" -ge "$UNTIL" ] || echo "$JOB" ;;
esac`
	for _, tt := range []struct {
		name, state, job, until string
		status                  int
		clock                   string
	}{
		{"at rest", "inactive", "", "0", 0, ""},
		{"failed", "failed", "", "99", 0, ""},
		{"at work for 4 s", "activating", "", "4", 0, "4"},
		{"at work too long", "activating", "", "99", 1, "7"},
		{"asked to start", "inactive", "123", "4", 0, "4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			t.Setenv("STATE", tt.state)
			t.Setenv("JOB", tt.job)
			t.Setenv("UNTIL", tt.until)
			m.has(t, "systemctl", systemctl)
			m.has(t, "cloud-init", `echo cloud-init >>"$MACHINE/asked"`)
			if err := os.MkdirAll(m.path("run/systemd/system"), 0o755); err != nil {
				t.Fatal(err)
			}
			out, status := m.run(t, "wait.sh", "7")
			if status != tt.status || m.file(t, "clock") != tt.clock {
				t.Errorf("status %d after %q s: %s", status, m.file(t, "clock"), out)
			}
			if status != 0 && !strings.Contains(out, "apt-daily-upgrade.service is still in use after 7 s") {
				t.Errorf("it does not say what is at work: %s", out)
			}
			if asked := m.file(t, "asked"); !strings.HasPrefix(asked, "stop timers\ncloud-init\nstop timers\nshow ") {
				t.Errorf("asked in this order:\n%s", asked)
			}
		})
	}
}

const heldLists = `echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)" >&2; exit 100`

// apt-get update fails at once when another one is at it; it is tried again for
// five minutes, and only then.
func TestInstallUpdateRoot(t *testing.T) {
	for _, tt := range []struct {
		name, update string
		status       int
		clock, want  string
	}{
		{"free", "exit 0", 0, "", "E-none"},
		{"held for 9 s", `[ "$(date)" -ge 9 ] || { ` + heldLists + `; }`, 0, "10", "another package manager updates the lists"},
		{"held", heldLists, 100, "300", "held by process 1"},
		{"no mirror", `echo "E: Failed to fetch http://mirror" >&2; exit 100`, 100, "", "E: Failed to fetch"},
		{"a warning", `echo "W: it is old" >&2`, 0, "", "W: it is old"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			m.has(t, "apt-get", `case "$*" in *update) echo Reading; `+tt.update+` ;; *) echo "$*" >>"$MACHINE/installed"; echo E-none ;; esac`)
			out, status := m.run(t, "install.sh", "openvpn", "ufw-")
			if status != tt.status || m.file(t, "clock") != tt.clock || !strings.Contains(out, tt.want) || !strings.Contains(out, "Reading") {
				t.Errorf("status %d after %q s: %s", status, m.file(t, "clock"), out)
			}
			if got := m.file(t, "installed"); (status == 0) != strings.HasSuffix(got, "dist-upgrade openvpn ufw-") {
				t.Errorf("status %d, and installed %q", status, got)
			}
		})
	}
}

// Nothing is started while packages are installed, and however that ends, the
// policy that sees to it ends with it. One that was there before stays.
func TestInstallPolicyRoot(t *testing.T) {
	const noted = `case "$*" in *dist-upgrade*) cat /usr/sbin/policy-rc.d >"$MACHINE/policy" ;; esac; `
	check := func(t *testing.T, m machine) {
		t.Helper()
		if got := m.file(t, "policy"); !strings.Contains(got, "exit 101") {
			t.Errorf("the policy while packages are installed: %q", got)
		}
		if _, err := os.Stat(m.path("sbin/policy-rc.d")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("policy-rc.d is left on the guest: %v", err)
		}
	}
	for name, want := range map[string]int{"exit 0": 0, "exit 100": 100} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.has(t, "apt-get", noted+`case "$*" in *dist-upgrade*) `+name+` ;; esac`)
			if out, status := m.run(t, "install.sh", "openvpn"); status != want {
				t.Errorf("status %d: %s", status, out)
			}
			check(t, m)
		})
	}
	// What this process ignores, by "nohup" for one, its shells would never hear of.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(heard)
	for _, sent := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sent.String(), func(t *testing.T) {
			m := newMachine(t)
			m.has(t, "apt-get", noted+`case "$*" in *dist-upgrade*) : >"$MACHINE/busy"; exec /bin/sleep 60 ;; esac`)
			var out bytes.Buffer
			cmd := m.command(t, &out, "install.sh", "openvpn")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if _, err := os.Stat(m.path("busy")); err == nil {
					break
				}
				if time.Now().After(deadline) {
					break // the wait below says what was
				}
			}
			// As a terminal or sshd does: to all of the session.
			if err := syscall.Kill(-cmd.Process.Pid, sent); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("status %d: %s", code, out.String())
			}
			check(t, m)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		m := newMachine(t)
		m.has(t, "apt-get", "exit 0")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		_ = m.command(t, w, "install.sh", "openvpn").Run()
		_ = w.Close()
		if _, err := os.Stat(m.path("sbin/policy-rc.d")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("policy-rc.d is left on the guest: %v", err)
		}
	})
	t.Run("the guest's own", func(t *testing.T) {
		m := newMachine(t)
		m.has(t, "apt-get", "exit 100")
		if err := os.WriteFile(m.path("sbin/policy-rc.d"), []byte("theirs"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, _ = m.run(t, "install.sh", "openvpn")
		if got := m.file(t, "sbin/policy-rc.d"); got != "theirs" {
			t.Errorf("policy-rc.d of the guest's own is %q", got)
		}
	})
}
