// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vpnami-lab": main})
}

// TestScripts runs the command as people see it, as far as it goes without
// root and without an image.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Condition: isRoot})
}

func TestSightings(t *testing.T) {
	type at struct {
		port lab.Port
		ms   int
	}
	for _, c := range []struct {
		name string
		seen []at
		want string
	}{
		{"never", []at{{lab.PortFiltered, 100}, {lab.PortClosed, 200}}, "it was never open"},
		{"open, closed", []at{{lab.PortFiltered, 100}, {lab.PortOpen, 1500}, {lab.PortOpen, 2000}, {lab.PortFiltered, 2100}, {lab.PortFiltered, 2300}},
			"open from 1.5 s to 2.0 s after the launch, silent from 2.1 s on"},
		{"open still", []at{{lab.PortOpen, 900}, {lab.PortFiltered, 1000}, {lab.PortOpen, 1100}}, "open from 900 ms after the launch, and open still"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sightings{open: -1, last: -1, shut: -1}
			for _, a := range c.seen {
				s.add(a.port, time.Duration(a.ms)*time.Millisecond)
			}
			if s.String() != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	var f findings
	f.check(true, "client1 connects", "address %s", "10.0.255.2")
	if err := f.err(); err != nil {
		t.Error(err)
	}
	f.time(true, "launch to \"VPN ready\"", "4 s")
	f.time(false, "the bake takes little more than mmdebstrap", "2 times")
	if err := f.err(); err != nil {
		t.Errorf("a time above its bound fails the demo: %v", err)
	}
	f.check(false, "SSH to the gateway is closed now", "open")
	if err := f.err(); err == nil || err.Error() != "what does not hold: SSH to the gateway is closed now" {
		t.Errorf("error is %v, want what does not hold", err)
	}
	var b bytes.Buffer
	f.print(&b, paint{})
	want := `
    What was checked                            What was seen
    ------------------------------------------  ------------------------------------------------------------
ok  client1 connects                            address 10.0.255.2
ok  launch to "VPN ready"                       4 s
--  the bake takes little more than mmdebstrap  2 times
NO  SSH to the gateway is closed now            open

--  over the bound on this machine: no failure, as a busy machine or a slow mirror does that, too

`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// TestCheckBake holds the bake to its bound, which shows and fails nothing.
func TestCheckBake(t *testing.T) {
	for _, c := range []struct {
		bake, alone float64
		want        []verdict
	}{{0, 0, nil}, {45, 0, []verdict{holds}}, {45, 30, []verdict{holds}}, {45.1, 30, []verdict{over}}} {
		r := rehearsal{demo: &demo{bakeSeconds: c.bake, mmdebstrapSeconds: c.alone}}
		r.checkBake()
		var got []verdict
		for _, l := range r.found.lines {
			got = append(got, l.verdict)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || r.found.err() != nil {
			t.Errorf("bake %v, mmdebstrap %v: verdicts (-want +got):\n%s%v", c.bake, c.alone, diff, r.found.err())
		}
	}
}

// TestKeepLogs keeps what the bake wrote into the folder before.
func TestKeepLogs(t *testing.T) {
	dir := t.TempDir()
	bake := filepath.Join(dir, "bake.log")
	if err := os.WriteFile(bake, []byte("baked"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := demo{flags: &flags{name: "nobody"}, logs: dir}
	d.lab.Log = d.flags.logger()
	var told bytes.Buffer
	if err := d.keepLogs(t.Context(), &told); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(bake); err != nil || string(text) != "baked" {
		t.Errorf("bake.log is %q, %v; want it untouched", text, err)
	}
	if !strings.Contains(told.String(), dir) {
		t.Errorf("it told %q, want the folder %q", told.String(), dir)
	}
	d.logs, told = filepath.Join(dir, "none"), bytes.Buffer{}
	if err := d.keepLogs(t.Context(), &told); err != nil || told.Len() != 0 {
		t.Errorf("without any log it told %q, %v; want nothing", told.String(), err)
	}
}

func TestInterruption(t *testing.T) {
	if got := interruption(nil).Error(); got != "interrupted; everything was taken down" {
		t.Errorf("after a clean end it says %q", got)
	}
	busy := errors.New("3 processes do not end")
	if err := interruption(busy); !errors.Is(err, busy) || strings.Contains(err.Error(), "everything was taken down") {
		t.Errorf("when something is left it says %q", err)
	}
}

func TestProgressPlain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	show := newProgress(out)
	if err := show.stage(t.Context(), "work", func(_ context.Context, n *note) error { n.set("%d done", 3); return nil }); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken")
	if err := show.stage(t.Context(), "fail", func(context.Context, *note) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("the stage's error is %v", err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if strings.Contains(got, "\033") || !strings.Contains(got, "..  work\nok  work") || !strings.Contains(got, "3 done\n") || !strings.Contains(got, "no  fail") {
		t.Errorf("a file got %q, want plain lines", got)
	}
}

func isRoot(name string) (bool, error) {
	if name != "root" {
		return false, errors.New("unknown condition")
	}
	return os.Geteuid() == 0, nil
}
