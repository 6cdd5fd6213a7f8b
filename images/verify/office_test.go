// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package verify

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// labName is fixed, so that "make down" clears what a killed run left, and the
// next run does so by itself.
const labName = "verify"

// office is the company of the article: its VPC, and its operator's desk.
type office struct {
	*lab.Lab
	// authority is the folder of the certificate authority at the desk.
	authority string
	// profiles is where the desk writes what people import.
	profiles string
	// passphrase is the file that opens the authority's key.
	passphrase string
	pkiProgram string
}

// The office is set up once for all tests: what they launch in it is theirs.
var theOffice *office

func TestMain(m *testing.M) {
	// os.Exit runs no deferred call, so all work is in a function of its own.
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	o, err := openOffice(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "setting up the office: %v\n", err)
		return 1
	}
	theOffice = o
	// Ctrl-C and the end of a CI job take the lab down as well: its machines are
	// no children of this process.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		os.Exit(o.close(1))
	}()
	return o.close(m.Run())
}

// close takes the lab down; when the tests failed, it first keeps the logs of
// every station. It returns the exit code.
func (o *office) close(code int) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if logs := os.Getenv("VPNAMI_LOGS"); code != 0 && logs != "" {
		if err := o.CollectLogs(ctx, logs); err != nil {
			fmt.Fprintf(os.Stderr, "keeping the logs in %q: %v\n", logs, err)
		} else {
			fmt.Fprintf(os.Stderr, "The logs of every station are in %s\n", logs)
		}
	}
	if err := o.Down(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "taking the lab down: %v\n", err)
		return 1
	}
	return code
}

func openOffice(ctx context.Context) (*office, error) {
	image := os.Getenv("VPNAMI_IMAGE")
	if image == "" {
		return nil, fmt.Errorf("VPNAMI_IMAGE is not set: it names the folder of the baked image (make verify sets it)")
	}
	programs := map[string]string{"vpnami-lab": "", "vpnami-pki": ""}
	for name := range programs {
		path, err := exec.LookPath(name)
		if err != nil {
			return nil, fmt.Errorf("finding %q (make build puts it into bin/): %w", name, err)
		}
		if programs[name], err = filepath.Abs(path); err != nil {
			return nil, err
		}
	}
	engine := lab.Nspawn
	if vm := os.Getenv("LAB_VM"); vm != "" {
		engine = lab.Engine(vm)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := lab.Down(ctx, labName, log); err != nil {
		return nil, fmt.Errorf("clearing an earlier run: %w", err)
	}
	l, err := lab.Up(ctx, lab.Options{Name: labName, Image: image, Engine: engine, Program: programs["vpnami-lab"], Log: log})
	if err != nil {
		return nil, err
	}
	o := &office{
		Lab:        l,
		authority:  filepath.Join(l.Dir(), "office"),
		profiles:   l.Dir(),
		passphrase: filepath.Join(l.Dir(), "passphrase"),
		pkiProgram: programs["vpnami-pki"],
	}
	if err := o.openDesk(ctx); err != nil {
		_ = l.Down(ctx)
		return nil, err
	}
	return o, nil
}

func (o *office) openDesk(ctx context.Context) error {
	if err := os.WriteFile(o.passphrase, []byte("only for the minutes of a test\n"), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "office", "--folder", o.authority, "--server-name", "vpn.example.com"},
		{"issue", "client1", "client2", "--folder", o.authority, "--out", o.profiles, "--remote", gatewayPublic.String()},
		{"publish", "--folder", o.authority, "--secret", "vpn/office"},
	} {
		if _, err := o.runPKI(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// runPKI runs the operator's command at the desk, a host on the internet.
func (o *office) runPKI(ctx context.Context, args ...string) (string, error) {
	desk, err := o.Host("desk")
	if err != nil {
		return "", err
	}
	cmd := desk.Command(ctx, o.pkiProgram, args...)
	cmd.Env = append(os.Environ(), o.AWSEnv()...)
	cmd.Env = append(cmd.Env, "VPNAMI_PASSPHRASE_FILE="+o.passphrase)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("running vpnami-pki %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

func (o *office) pki(t *testing.T, args ...string) string {
	t.Helper()
	out, err := o.runPKI(within(t, 30*time.Second), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (o *office) profile(name string) string { return filepath.Join(o.profiles, name+".ovpn") }

// The article's addresses.
var (
	gatewayPrivate = netip.MustParseAddr("10.0.1.2")
	gatewayPublic  = netip.MustParseAddr("203.0.113.10")
	stepPrivate    = netip.MustParseAddr("10.0.2.2")
	metadata       = netip.MustParseAddr("169.254.169.254")
)

// The login that the image's cloud-init makes for the launch key.
const login = "debian"

func host(t *testing.T, name string) *lab.Host {
	t.Helper()
	h, err := theOffice.Host(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func launch(t *testing.T, spec lab.LaunchSpec) *lab.Instance {
	t.Helper()
	i, err := theOffice.Launch(within(t, 30*time.Second), spec)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// bootTime bounds a boot of a machine; under emulation a boot takes a minute, and
// five where others work beside it.
func bootTime() time.Duration {
	if theOffice.Engine() == lab.Qemu {
		return 10 * time.Minute
	}
	return time.Minute
}

func ready(t *testing.T, i *lab.Instance) lab.Result {
	t.Helper()
	r, err := i.WaitReady(within(t, bootTime()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// inside runs a command on the instance and returns what it printed, trimmed.
func inside(t *testing.T, i *lab.Instance, args ...string) string {
	t.Helper()
	out, err := i.Exec(within(t, 30*time.Second), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// inUnit runs systemd-run with these arguments on the instance, and returns what
// it printed, trimmed. A machine is ready before its bus is (seen at 1.6 s), and
// systemd-run takes no other way: its socket first, which systemctl has another
// way to ask for.
func inUnit(t *testing.T, i *lab.Instance, args ...string) string {
	t.Helper()
	inside(t, i, "systemctl", "start", "dbus.socket")
	return inside(t, i, append([]string{"systemd-run", "--quiet"}, args...)...)
}

// state is what systemctl says of a unit; it exits non-zero for most answers.
func state(t *testing.T, i *lab.Instance, unit string) string {
	t.Helper()
	out, _ := i.Exec(within(t, 30*time.Second), "systemctl", "is-active", unit)
	return strings.TrimSpace(out)
}

func connect(t *testing.T, h *lab.Host, profile string) *lab.Session {
	t.Helper()
	// Under emulation, the first handshake may take longer than both sides give it.
	return joined(t, h, profile, bootTime()/2)
}

// refused asserts that the profile gets nobody in. 12 s: a connect takes well
// under one, a refusal is final at the first answer, and a server that keeps
// silent is asked again after some seconds. Under emulation it takes longer, and the
// daemon's log is to be asked as well.
func refused(t *testing.T, h *lab.Host, profile string) {
	t.Helper()
	patience := 12 * time.Second
	if theOffice.Engine() == lab.Qemu {
		patience = time.Minute
	}
	s, err := h.Connect(within(t, patience), profile)
	if err == nil {
		_ = s.Close()
		t.Fatalf("%s let %s in with address %s", filepath.Base(profile), h.Name(), s.Address())
	}
}

// expectPort asserts what a port looks like from a host.
func expectPort(t *testing.T, h *lab.Host, address netip.AddrPort, want lab.Port) {
	t.Helper()
	looks(t, h, address, want, time.Second)
}

func ssh(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, 22) }
