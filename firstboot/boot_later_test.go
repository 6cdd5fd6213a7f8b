// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestBootLater: whatever has gone wrong since, the gateway comes up as it was.
func TestBootLater(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*gateway)
		words string
	}{
		"imds away":     {func(g *gateway) { g.cloud.spoil("imds", status(404)) }, "instance metadata service"},
		"secrets away":  {func(g *gateway) { g.cloud.spoil("secretsmanager", status(500)) }, "reading secret"},
		"secret gone":   {func(g *gateway) { clear(g.cloud.secrets) }, "ResourceNotFoundException"},
		"bad publish":   {func(g *gateway) { g.cloud.secrets["vpn/office/server"] = []byte("{}") }, "opening secrets"},
		"bad user-data": {func(g *gateway) { g.cloud.launch("#vpnami\nrole: vpm\n") }, "\"role\" is \"vpm\""},
		"no user-data":  {func(g *gateway) { delete(g.cloud.metadata, "user-data") }, "no document"},
		"ec2 denied":    {func(g *gateway) { g.cloud.spoil("ec2", denied) }, "UnauthorizedOperation"},
		"all away": {func(g *gateway) {
			for _, s := range []string{"imds", "secretsmanager", "ec2"} {
				g.cloud.spoil(s, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
			}
		}, "instance metadata service"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, vpnDocument)
			g.want(g.boot(), Ready, "")
			g.machine.reboot(t)
			g.systemd.states[openvpnUnit] = "inactive"
			c.spoil(g)
			proofs := g.proofs
			r := g.boot()
			g.want(r, Degraded, c.words)
			if g.systemd.states[openvpnUnit] != "active" || g.proofs == proofs {
				t.Error("it does not run, proven")
			}
			if r.Role != RoleVPN || r.Instance != "i-0123456789abcdef0" {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// TestBootRollsBack: a publish that is good on paper and does not work.
func TestBootRollsBack(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	good, _ := g.machine.store.read(g.machine.layout.current())
	g.people.person("client2")
	g.cloud.launch(vpnDocument + "port: 1195\n")
	g.cloud.publish(g.people.seal(t))
	g.cloud.rules = append(g.cloud.rules, admission("sgr-1195", 1195))
	g.prove = errors.New("connecting: port taken")
	// Both fail: there is nothing better to go back to.
	g.want(g.boot(), Refused, "port taken")
	if now, _ := g.machine.store.read(g.machine.layout.current()); now != good {
		t.Errorf("in force is %+v, want %+v", now, good)
	}
	g.prove = nil
	g.want(g.boot(), Ready, "")
	if now, _ := g.machine.store.read(g.machine.layout.current()); now.Files == good.Files {
		t.Error("the new state is not in force")
	}
}

// TestBootOfAnotherInstance: an image made of a running gateway starts over.
func TestBootOfAnotherInstance(t *testing.T) {
	for name, spoil := range map[string]func(*gateway){
		"launched well": func(*gateway) {},
		"not launched":  func(g *gateway) { delete(g.cloud.metadata, "user-data") },
		"imds away": func(g *gateway) {
			g.cloud.spoil("imds", status(404))
			put(g.t, g.machine.layout.root, "sys/class/dmi/id/board_asset_tag", "i-0fedcba9876543210\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, vpnDocument)
			g.want(g.boot(), Ready, "")
			g.cloud.metadata["dynamic/instance-identity/document"] = strings.Replace(g.cloud.metadata["dynamic/instance-identity/document"], "i-0123456789abcdef0", "i-0fedcba9876543210", 1)
			g.machine.reboot(t)
			g.systemd.states[openvpnUnit] = "inactive"
			g.cloud.rules = newCloud(t).rules
			spoil(g)
			r := g.boot()
			if name == "launched well" {
				g.want(r, Ready, "")
				return
			}
			g.want(r, Waiting, "")
			if g.systemd.states[openvpnUnit] == "active" {
				t.Error("the other instance's gateway runs")
			}
			for path := range tree(t, g.machine.layout.state()) {
				if strings.HasSuffix(path, ".key") {
					t.Errorf("the other instance's key is there: %s", path)
				}
			}
		})
	}
}

// TestBootBecomesStep: the role was changed while the instance was stopped.
func TestBootBecomesStep(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.cloud.launch("#vpnami\nrole: step\n")
	r := g.boot()
	if r.State != Ready || g.systemd.states[openvpnUnit] == "active" {
		t.Errorf("got %s, openvpn %s", r.State, g.systemd.states[openvpnUnit])
	}
}

func TestBootReopened(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.cloud.rules = append(g.cloud.rules, Rule{ID: "sgr-again", Group: "sg-0aaa", Protocol: "tcp", From: 22, To: 22, Source: Source{Network: prefix("0.0.0.0/0")}})
	r := g.boot()
	g.want(r, Ready, "")
	if diff := cmp.Diff([]string{"sgr-again"}, r.SSH.Revoked); diff != "" {
		t.Error(diff)
	}
}

// TestBootDeadline: what ends the run does not take the way back with it.
func TestBootDeadline(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.machine.reboot(t)
	g.systemd.states[openvpnUnit] = "inactive"
	g.cloud.launch(vpnDocument + "ssh: tunnel\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.proving = func() error {
		if ctx.Err() == nil {
			cancel()
			return errors.New("the time is over")
		}
		return nil
	}
	g.want(g.bootIn(ctx), Degraded, "the time is over")
	if g.systemd.states[openvpnUnit] != "active" || g.proofs != 3 {
		t.Errorf("it is %s after %d proofs", g.systemd.states[openvpnUnit], g.proofs)
	}
}

// TestBootQueued: a start that waits for another unit is not left to happen.
func TestBootQueued(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.systemd.fails[openvpnUnit] = ""
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	g.want(g.bootIn(ctx), Refused, "systemd has not finished")
	// Nor is the proof's client, which waits for the daemon.
	if diff := cmp.Diff([]string{"begin " + openvpnUnit, "reload " + filterUnit, "restart " + openvpnUnit, "stop " + openvpnUnit, "stop " + probeUnit}, g.systemd.taken()); diff != "" {
		t.Error(diff)
	}
}

// TestBootFailedBefore: what does not work is tried once, not at every retry.
func TestBootFailedBefore(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.systemd.taken()
	g.cloud.rules = append(g.cloud.rules, admission("sgr-1195", 1195))
	g.cloud.launch(vpnDocument + "port: 1195\n")
	works := false
	g.proving = func() error {
		conf, err := os.ReadFile(filepath.Join(g.machine.layout.current(), "server.conf"))
		if !works && strings.Contains(string(conf), "port 1195") {
			err = errors.New("connecting: AUTH_FAILED")
		}
		return err
	}
	again := func(restarts int) {
		t.Helper()
		g.want(g.boot(), Degraded, "AUTH_FAILED")
		n := 0
		for _, job := range g.systemd.taken() {
			if job == "restart "+openvpnUnit {
				n++
			}
		}
		if n != restarts {
			t.Errorf("the daemon was restarted %d times, want %d", n, restarts)
		}
	}
	again(2)
	again(0)
	again(0)
	// Each change, and each boot, is worth an attempt.
	g.cloud.launch(vpnDocument + "port: 1195\n# again\n")
	again(2)
	again(0)
	g.machine.reboot(t)
	again(2)
	again(0)
	works = true
	g.people.person("client2")
	g.cloud.publish(g.people.seal(t))
	g.want(g.boot(), Ready, "")
	if _, err := os.Stat(g.machine.layout.failed()); err == nil {
		t.Error("the failure is remembered")
	}
}
