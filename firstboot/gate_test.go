// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

func admission(id string, port int32) Rule {
	return Rule{ID: id, Group: "sg-0aaa", Protocol: "udp", From: port, To: port, Source: Source{Network: prefix("0.0.0.0/0")}}
}

func openSSH(id string) Rule {
	return Rule{ID: id, Group: "sg-0aaa", Protocol: "tcp", From: 22, To: 22, Source: Source{Network: prefix("0.0.0.0/0")}}
}

// TestBootMovesPort: the launch is moved to a port that EC2 does not admit, and
// the daemon stays where people reach it until it does.
func TestBootMovesPort(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	good, _ := g.machine.store.read(g.machine.layout.proven())
	g.machine.reboot(t)
	g.systemd.states[openvpnUnit] = "inactive"
	g.cloud.launch(vpnDocument + "port: 1195\n")
	r := g.boot()
	g.want(r, Degraded, "looking for ingress to udp/1195")
	if now, _ := g.machine.store.read(g.machine.layout.proven()); now != good || r.Port != "udp/1194" {
		t.Errorf("kept is %+v, reported %s", now, r.Port)
	}
	// Trying again costs no session.
	g.systemd.taken()
	g.want(g.boot(), Degraded, "udp/1195")
	if jobs := g.systemd.taken(); len(jobs) != 0 {
		t.Errorf("restarts %q", jobs)
	}
	g.cloud.spoil("ec2", denied)
	g.want(g.boot(), Degraded, "UnauthorizedOperation")
	g.cloud.spoil("ec2", nil)
	g.cloud.rules = append(g.cloud.rules, admission("sgr-1195", 1195))
	if r := g.boot(); r.State != Ready || r.Port != "udp/1195" {
		t.Errorf("got %s on %s: %s", r.State, r.Port, r.Cause)
	}
}

// TestBootSealsWhatRuns: the last good daemon runs on another port than the
// launch says, and SSH is closed by the port of the one that runs.
func TestBootSealsWhatRuns(t *testing.T) {
	g := newGateway(t, vpnDocument)
	first := g.boot()
	g.want(first, Ready, "")
	g.cloud.rules = []Rule{admission("sgr-0udp", 1195), openSSH("sgr-again")}
	g.cloud.launch("#vpnami\nrole: vpn\nsecret: vpn/ofice\nport: 1195\nnetwork: 10.0.254.0/24\n")
	r := g.boot()
	g.want(r, Degraded, "vpn/ofice")
	if len(g.cloud.rules) != 2 {
		t.Errorf("SSH was closed: %v", g.cloud.rules)
	}
	if diff := cmp.Diff([]any{first.Network, first.Port, first.Server, first.CRL}, []any{r.Network, r.Port, r.Server, r.CRL}); diff != "" {
		t.Error(diff)
	}
	g.cloud.rules = append(g.cloud.rules, admission("sgr-1194", 1194))
	g.want(g.boot(), Degraded, "vpn/ofice")
	if len(g.cloud.rules) != 2 {
		t.Errorf("SSH was left open: %v", g.cloud.rules)
	}
}

// TestBootAdmission: SSH is closed only when somebody can reach the daemon.
func TestBootAdmission(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.cloud.rules[0].Source = Source{Network: prefix("::/0")}
	g.want(g.boot(), Waiting, "looking for ingress to udp/1194")
	g.cloud.rules[0].Source = Source{Group: "sg-other"}
	r := g.boot()
	g.want(r, Ready, "")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "from inside the VPC alone") {
		t.Errorf("got %q", r.Warnings)
	}
}

// TestBootTellsWhatItRevoked, though what follows fails.
func TestBootTellsWhatItRevoked(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.cloud.consent["sg-0bbb"] = true
	for path := range g.cloud.metadata {
		if strings.HasSuffix(path, "security-group-ids") {
			g.cloud.metadata[path] = "sg-0bbb\nsg-0aaa"
		}
	}
	other := openSSH("sgr-0bbb")
	other.Group = "sg-0bbb"
	g.cloud.rules = append(g.cloud.rules, other)
	n := 0
	g.cloud.spoil("RevokeSecurityGroupIngress", func(w http.ResponseWriter, r *http.Request) {
		if n++; n > 1 {
			denied(w, r)
			return
		}
		g.cloud.mu.Lock()
		defer g.cloud.mu.Unlock()
		g.cloud.rules = slices.DeleteFunc(g.cloud.rules, func(r Rule) bool { return r.ID == "sgr-0ssh" })
		_, _ = w.Write([]byte("<RevokeSecurityGroupIngressResponse><return>true</return></RevokeSecurityGroupIngressResponse>"))
	})
	r := g.boot()
	g.want(r, Waiting, "\"sgr-0bbb\"")
	if diff := cmp.Diff([]string{"sgr-0ssh"}, r.SSH.Revoked); diff != "" || !strings.Contains(g.log.String(), "msg=revoked rule=\"sgr-0ssh of sg-0aaa") {
		t.Errorf("%s\n%s", diff, g.log.String())
	}
}

func TestBootWithoutGroups(t *testing.T) {
	g := newGateway(t, vpnDocument)
	for path := range g.cloud.metadata {
		if strings.HasSuffix(path, "security-group-ids") {
			g.cloud.metadata[path] = "\n"
		}
	}
	g.want(g.boot(), Waiting, "names no security group")
	if g.cloud.asked("ec2") != 0 {
		t.Error("EC2 is asked about the groups of others")
	}
}

// TestBootOlderList: a list that is older than the one in force would let in
// again who was shut out.
func TestBootOlderList(t *testing.T) {
	g := newGateway(t, vpnDocument)
	lost, _ := g.people.person("laptop")
	old := g.people.seal(t)
	g.people.access.CRL = g.people.CRL(7, lost.SerialNumber)
	g.cloud.publish(g.people.seal(t))
	g.want(g.boot(), Ready, "")
	// The same people under a higher number: nothing to lay down, and known.
	g.people.access.CRL = g.people.CRL(9, lost.SerialNumber)
	newest, err := bundle.Seal(g.people.server, g.people.access, "vpn/office", 9)
	if err != nil {
		t.Fatal(err)
	}
	g.cloud.publish(newest)
	g.want(g.boot(), Ready, "")
	g.people.access.CRL = g.people.CRL(8, lost.SerialNumber)
	for name, sealed := range map[string]bundle.Sealed{"before": old, "between": g.people.seal(t)} {
		g.cloud.publish(sealed)
		r := g.boot()
		g.want(r, Degraded, "9 was in force under the same CA")
		if _, err := os.Stat(filepath.Join(g.machine.layout.current(), "revoked", lost.SerialNumber.String())); err != nil || r.CRL.Number != "9" {
			t.Errorf("%s: list %s, %v", name, r.CRL.Number, err)
		}
	}
	// Another CA counts anew.
	g.people = newAuthority(t)
	g.people.person("client1")
	g.cloud.publish(g.people.seal(t))
	g.want(g.boot(), Ready, "")
}
