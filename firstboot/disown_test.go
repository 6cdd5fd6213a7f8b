// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// becomeOther lets the metadata service name another instance.
func (g *gateway) becomeOther() {
	const path = "dynamic/instance-identity/document"
	g.cloud.metadata[path] = strings.Replace(g.cloud.metadata[path], "i-0123456789abcdef0", "i-0fedcba9876543210", 1)
	g.machine.reboot(g.t)
	g.systemd.states[openvpnUnit] = "inactive"
	g.systemd.taken()
}

// disowned: no key is left, and the image's rules are on the disk and loaded.
func (g *gateway) disowned() {
	g.t.Helper()
	for path := range tree(g.t, g.machine.layout.state()) {
		if strings.HasSuffix(path, ".key") {
			g.t.Errorf("the other instance's key is there: %s", path)
		}
	}
	if rules, err := os.ReadFile(filepath.Join(g.machine.layout.rules(), rules4)); err != nil || !slices.Equal(rules, baseRules()) {
		g.t.Errorf("the rules are %q, %v", rules, err)
	}
	if !slices.Contains(g.systemd.taken(), "reload "+filterUnit) || len(g.machine.store.waiting()) != 0 {
		g.t.Errorf("the rules are not loaded: %q", g.machine.store.waiting())
	}
}

// TestDisownLoadsRules: the rules of the other instance are not left in the
// kernel, though nothing takes their place.
func TestDisownLoadsRules(t *testing.T) {
	g := newGateway(t, "#vpnami\nrole: step\n")
	g.want(g.boot(), Ready, "")
	g.becomeOther()
	g.cloud.launch("#vpnami\nrole: vpn\nsecret: vpn/nope\n")
	g.want(g.boot(), Waiting, "vpn/nope")
	g.disowned()
}

// TestDisownSync: since when the other's sync failed calls nobody to this one.
func TestDisownSync(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.cloud.spoil("secretsmanager", status(500))
	g.sync(exitWaiting, "reading secret")
	g.cloud.spoil("secretsmanager", nil)
	g.becomeOther()
	g.want(g.boot(), Ready, "")
	if end, err := readSync(g.machine.layout.sync()); err != nil || end != (SyncEnd{}) {
		t.Errorf("got %+v, %v", end, err)
	}
}

// TestDisownAfterCrash: wiping that did not come to its end begins again.
func TestDisownAfterCrash(t *testing.T) {
	for name, links := range map[string][]string{
		"no link":    {"current", "proven"},
		"no current": {"current"},
		"no proven":  {"proven"},
		"no record":  {"current/" + recordFile},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, vpnDocument)
			g.want(g.boot(), Ready, "")
			g.becomeOther()
			delete(g.cloud.metadata, "user-data")
			for _, link := range links {
				if err := os.Remove(filepath.Join(g.machine.layout.state(), link)); err != nil {
					t.Fatal(err)
				}
			}
			g.want(g.boot(), Waiting, "no document")
			g.disowned()
		})
	}
}

// TestDisownByFirmware: without the metadata service, the firmware's name of
// the machine tells that the state is another's.
func TestDisownByFirmware(t *testing.T) {
	for name, c := range map[string]struct {
		uuid  string
		state State
		words string
	}{
		"the same":  {"ec2aaaaa-0000\n", Degraded, "instance metadata service"},
		"another":   {"ec2bbbbb-0000\n", Waiting, "this is the machine \"ec2bbbbb-0000\""},
		"not there": {"", Degraded, "instance metadata service"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, vpnDocument)
			put(t, g.machine.layout.root, "sys/class/dmi/id/product_uuid", "ec2aaaaa-0000\n")
			g.want(g.boot(), Ready, "")
			g.machine.reboot(t)
			g.systemd.states[openvpnUnit] = "inactive"
			put(t, g.machine.layout.root, "sys/class/dmi/id/product_uuid", c.uuid)
			g.cloud.spoil("imds", status(404))
			g.want(g.boot(), c.state, c.words)
			if running := g.systemd.states[openvpnUnit] == "active"; running != (c.state == Degraded) {
				t.Errorf("running: %v", running)
			}
		})
	}
}
