// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// fakeUnits is systemd as far as start asks it.
type fakeUnits struct {
	mu     sync.Mutex
	states map[string]string
	jobs   []string          // "restart openvpn-server@vpn.service"
	fails  map[string]string // unit: the job's result instead of "done"; "" stays queued
	queued map[string]bool   // unit: a start is queued, which only a stop ends
	after  map[string]string // unit: the state after a done job instead of active
	mute   map[string]bool   // unit: it never says that it is up
	stuck  map[string]bool   // unit: its stop does not end
	deaf   bool              // systemd takes questions and does not answer
	logs   map[string]string // unit: what the journal has of it
	probe  func() error      // how the proof goes; nil is well
	words  error             // of the last proof
	proven bool              // since the daemon was last started or stopped
	alive  context.Context   // what it was dialled with; it hangs up when that ends
	// waits is the start of the probe's client, which waits for the daemon; due
	// is its connecting, where the daemon has come.
	waits chan<- string
	due   bool
	// layout is of the machine. The daemon's unit waits until no rules are
	// pending there; held is its start meanwhile.
	layout layout
	held   chan<- string
}

// dial is what boot calls. godbus closes a connection whose context ends.
func (f *fakeUnits) dial(ctx context.Context) (units, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive = ctx
	return f, func() {}, ctx.Err()
}

func (f *fakeUnits) hungUp() error {
	if f.alive != nil && f.alive.Err() != nil {
		return godbus.ErrClosed
	}
	return nil
}

func newUnits(l layout) *fakeUnits {
	return &fakeUnits{
		layout: l,
		states: map[string]string{filterUnit: "active", openvpnUnit: "inactive", probeUnit: "inactive"},
		fails:  map[string]string{},
		queued: map[string]bool{},
		after:  map[string]string{},
		mute:   map[string]bool{},
		stuck:  map[string]bool{},
		logs:   map[string]string{},
	}
}

// hears waits, where systemd does not answer, as long as the caller does.
func (f *fakeUnits) hears(ctx context.Context) error {
	f.mu.Lock()
	deaf, hungUp := f.deaf, f.hungUp()
	f.mu.Unlock()
	if !deaf {
		return hungUp
	}
	<-ctx.Done()
	return ctx.Err()
}

// fail makes a unit fail that has to be started or loaded anew.
func (f *fakeUnits) fail(unit string) {
	f.fails[unit] = "failed"
	if f.states[unit] == "active" {
		f.states[unit] = "inactive"
	}
}

func (f *fakeUnits) job(verb, unit, state string, result chan<- string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.hungUp(); err != nil {
		return 0, err
	}
	f.jobs = append(f.jobs, verb+" "+unit)
	if unit == openvpnUnit {
		f.proven = false
	}
	if verb == "stop" && f.stuck[unit] {
		return 1, nil
	}
	if how, ok := f.fails[unit]; ok && verb != "stop" {
		if how == "" {
			// As systemd shows a job that waits for another unit.
			f.states[unit], f.queued[unit] = "inactive", true
			return 1, nil
		}
		f.states[unit] = "failed"
		result <- how
		return 1, nil
	}
	delete(f.queued, unit)
	if other, ok := f.after[unit]; ok && verb != "stop" {
		state = other
	}
	f.states[unit] = state
	result <- "done"
	return 1, nil
}

func (f *fakeUnits) StartUnitContext(ctx context.Context, name, _ string, result chan<- string) (int, error) {
	if err := f.hears(ctx); err != nil {
		return 0, err
	}
	return f.job("start", name, "active", result)
}

func (f *fakeUnits) RestartUnitContext(ctx context.Context, name, _ string, result chan<- string) (int, error) {
	if err := f.hears(ctx); err != nil {
		return 0, err
	}
	if how, fails := f.fails[name]; name == probeUnit && !fails {
		f.mu.Lock()
		if f.states[openvpnUnit] != "active" {
			f.states[name], f.waits = "activating", result
			defer f.mu.Unlock()
			return 1, f.hungUp()
		}
		f.mu.Unlock()
		return 1, f.connect(result)
	} else if fails && how == "" && name == probeUnit {
		return 1, nil
	}
	if name == openvpnUnit && f.filterPending() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.held, f.states[name], f.proven = result, "activating", false
		f.jobs = append(f.jobs, "begin "+name)
		go f.hold(result)
		return 1, f.hungUp()
	}
	return f.restart(name, result)
}

func (f *fakeUnits) filterPending() bool {
	_, noted, _ := readPending(f.layout, filterUnit)
	return noted
}

// restart is a job of which the units that wait for it hear.
func (f *fakeUnits) restart(name string, result chan<- string) (int, error) {
	n, err := f.job("restart", name, "active", result)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waits != nil && name == openvpnUnit && f.states[name] == "active" {
		f.waits <- "done"
		f.waits, f.due = nil, true
		f.states[probeUnit] = "active"
	}
	return n, err
}

// hold starts the daemon, which waits for the packet filter as its unit does,
// unless something else has been asked of it by then.
func (f *fakeUnits) hold(result chan<- string) {
	end := time.Now().Add(filterWithin)
	for f.filterPending() && time.Now().Before(end) {
		time.Sleep(filterPoll)
	}
	f.mu.Lock()
	wanted := f.held == result
	if wanted {
		f.held = nil
	}
	f.mu.Unlock()
	if !wanted {
		return
	}
	if f.filterPending() {
		result <- "failed"
		return
	}
	_, _ = f.restart(openvpnUnit, result)
}

// connect is the probe's client: OpenVPN says that it is ready before it has
// connected.
func (f *fakeUnits) connect(result chan<- string) error {
	var words error
	if f.probe != nil {
		words = f.probe()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.words, f.waits, f.due = words, nil, false
	f.states[probeUnit] = "active"
	if words != nil {
		f.states[probeUnit] = "inactive"
	}
	f.proven = words == nil && !f.mute[probeUnit]
	result <- "done"
	return f.hungUp()
}

func (f *fakeUnits) ReloadOrRestartUnitContext(ctx context.Context, name, _ string, result chan<- string) (int, error) {
	if err := f.hears(ctx); err != nil {
		return 0, err
	}
	return f.job("reload", name, "active", result)
}

func (f *fakeUnits) StopUnitContext(ctx context.Context, name, _ string, result chan<- string) (int, error) {
	if err := f.hears(ctx); err != nil {
		return 0, err
	}
	f.mu.Lock()
	if name == probeUnit {
		f.waits, f.due = nil, false
	}
	if name == openvpnUnit {
		f.held = nil
	}
	f.mu.Unlock()
	return f.job("stop", name, "inactive", result)
}

func (f *fakeUnits) KillUnitWithTarget(ctx context.Context, name string, _ dbus.Who, _ int32) error {
	if err := f.hears(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[name] = "inactive"
	return nil
}

func (f *fakeUnits) GetUnitPropertyContext(ctx context.Context, unit, property string) (*dbus.Property, error) {
	if err := f.hears(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if property != "ActiveState" {
		return nil, errors.New("not known")
	}
	return &dbus.Property{Name: property, Value: godbus.MakeVariant(f.states[unit])}, nil
}

func (f *fakeUnits) GetUnitTypePropertyContext(ctx context.Context, unit, unitType, property string) (*dbus.Property, error) {
	if err := f.hears(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	due := unit == probeUnit && f.due
	f.mu.Unlock()
	if due {
		if err := f.connect(make(chan string, 1)); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if unit != openvpnUnit && unit != probeUnit || unitType != "Service" || property != "StatusText" {
		return nil, errors.New("not known")
	}
	text := "Pre-connection initialization successful"
	if f.states[unit] == "active" && !f.mute[unit] {
		text = "Initialization Sequence Completed"
	}
	return &dbus.Property{Name: property, Value: godbus.MakeVariant(text)}, nil
}

func (f *fakeUnits) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	jobs := f.jobs
	f.jobs = nil
	return jobs
}

// lastWords are what the journal would have.
func (f *fakeUnits) lastWords(_ context.Context, unit string) string {
	if unit == probeUnit && f.words != nil {
		return " (" + f.words.Error() + ")"
	}
	if log := f.logs[unit]; log != "" {
		return inParentheses(tellingLine(log))
	}
	return " (its last words)"
}

func TestStart(t *testing.T) {
	m := newMachine(t)
	systemd := newUnits(m.layout)
	up := &starter{units: systemd, store: m.store, lastWords: systemd.lastWords}
	run := func() []string {
		t.Helper()
		if err := errors.Join(up.filter(t.Context()), up.openvpn(t.Context())); err != nil {
			t.Fatal(err)
		}
		return systemd.taken()
	}
	place(t, m, "one")
	both := []string{"reload " + filterUnit, "restart " + openvpnUnit}
	if diff := cmp.Diff(both, run()); diff != "" {
		t.Errorf("first: %s", diff)
	}
	if again := run(); len(again) != 0 {
		t.Errorf("again: %q", again)
	}
	systemd.states[openvpnUnit] = "failed"
	if diff := cmp.Diff([]string{"restart " + openvpnUnit}, run()); diff != "" {
		t.Errorf("after a crash of the daemon: %s", diff)
	}
	place(t, m, "two")
	if diff := cmp.Diff(both, run()); diff != "" {
		t.Errorf("after a change: %s", diff)
	}
	systemd.states[filterUnit] = "inactive"
	if diff := cmp.Diff([]string{"reload " + filterUnit}, run()); diff != "" {
		t.Errorf("without the filter: %s", diff)
	}
}

func TestStartFails(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*fakeUnits, machine) error
		words string
	}{
		"filter failed":   {func(f *fakeUnits, _ machine) error { f.fails[filterUnit] = "failed"; return nil }, "reloading \"netfilter-persistent.service\": systemd says \"failed\" (its last words)"},
		"filter inactive": {func(f *fakeUnits, _ machine) error { f.after[filterUnit] = "inactive"; return nil }, "loading the packet filter: \"netfilter-persistent.service\" is inactive"},
		"daemon failed":   {func(f *fakeUnits, _ machine) error { f.fails[openvpnUnit] = "failed"; return nil }, "systemd says \"failed\" (its last words)"},
		"skipped":         {func(f *fakeUnits, _ machine) error { f.fails[openvpnUnit] = "skipped"; return nil }, "systemd says \"skipped\""},
		"dependency":      {func(f *fakeUnits, _ machine) error { f.fails[openvpnUnit] = "dependency"; return nil }, "systemd says \"dependency\""},
		"done yet not up": {func(f *fakeUnits, _ machine) error { f.after[openvpnUnit] = "activating"; return nil }, "is activating (its last words)"},
		"never serves":    {func(f *fakeUnits, _ machine) error { f.mute[openvpnUnit] = true; return nil }, "is not up yet, its status is"},
		"never ends":      {func(f *fakeUnits, _ machine) error { f.fails[openvpnUnit] = ""; return nil }, "systemd has not finished"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			systemd := newUnits(m.layout)
			up := &starter{units: systemd, store: m.store, lastWords: systemd.lastWords}
			place(t, m, "one")
			if err := c.spoil(systemd, m); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			err := up.filter(ctx)
			if err == nil {
				err = up.openvpn(ctx)
			}
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want words %q", err, c.words)
			}
			if state, _ := verdict(err); state != Refused {
				t.Errorf("state %s", state)
			}
			// What failed is still to be done.
			if len(m.store.waiting()) == 0 {
				t.Error("nothing is pending")
			}
		})
	}
}

func TestTellingLine(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"port": {"Socket Buffers: R=[212992->212992]\nTCP/UDP: Socket bind failed on local address [AF_INET][undef]:1194: Address already in use (errno=98)\nExiting due to fatal error\nopenvpn-server@vpn.service: Main process exited, code=exited, status=1/FAILURE\nopenvpn-server@vpn.service: Failed with result 'exit-code'.\nFailed to start openvpn-server@vpn.service - OpenVPN service for vpn.\n",
			"TCP/UDP: Socket bind failed on local address [AF_INET][undef]:1194: Address already in use (errno=98)"},
		"tun":    {"ERROR: Cannot open TUN/TAP dev /dev/net/tun: No such file or directory (errno=2)\nExiting due to fatal error\n", "ERROR: Cannot open TUN/TAP dev /dev/net/tun: No such file or directory (errno=2)"},
		"client": {"TLS Error: TLS key negotiation failed to occur within 8 seconds\nTLS Error: TLS handshake failed\nSIGUSR1[soft,tls-error] received, process restarting\n", "TLS Error: TLS key negotiation failed to occur within 8 seconds"},
		"none":   {"all is well\n", ""},
		"long":   {"error " + strings.Repeat("x", 1000), "error " + strings.Repeat("x", maxWords-6) + "..."},
	} {
		if got := tellingLine(c.log); got != c.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
