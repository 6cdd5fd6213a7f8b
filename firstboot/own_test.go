// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

func prefixesOf(words ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, word := range words {
		list = append(list, prefix(word))
	}
	return list
}

func piecesText(list []Piece) string {
	var words []string
	for _, piece := range list {
		words = append(words, fmt.Sprintf("%s=%s", piece.Tunnel, piece.VPC))
	}
	return strings.Join(words, " ")
}

func TestPieces(t *testing.T) {
	for name, c := range map[string]struct {
		network   string
		addresses []string
		want      string
	}{
		"one":                        {"10.0.255.0/24", []string{"10.0.1.64/28"}, "10.0.255.0/28=10.0.1.64/28"},
		"a larger one, in parts":     {"10.0.255.0/24", []string{"10.0.1.64/27"}, "10.0.255.0/28=10.0.1.64/28 10.0.255.16/28=10.0.1.80/28"},
		"in the launch's order":      {"10.0.255.0/24", []string{"10.0.1.128/28", "10.0.1.64/28"}, "10.0.255.0/28=10.0.1.128/28 10.0.255.16/28=10.0.1.64/28"},
		"not into the pool":          {"10.0.255.0/27", []string{"10.0.1.64/26"}, "10.0.255.0/28=10.0.1.64/28"},
		"less than a piece of /28":   {"10.0.255.16/28", []string{"10.0.1.64/28"}, "10.0.255.16/29=10.0.1.64/29"},
		"less than a piece of /29":   {"10.0.255.8/29", []string{"10.0.1.64/28"}, "10.0.255.8/30=10.0.1.64/30"},
		"at the end of all networks": {"10.0.255.0/24", []string{"255.255.255.240/28", "10.0.1.64/28"}, "10.0.255.0/28=255.255.255.240/28 10.0.255.16/28=10.0.1.64/28"},
		"none":                       {"10.0.255.0/24", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := piecesText(pieces(bundle.PlanAddresses(prefix(c.network)), prefixesOf(c.addresses...))); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if all := pieces(bundle.PlanAddresses(prefix("10.1.0.0/16")), prefixesOf("10.2.0.0/16")); len(all) != 2048 || all[2047].VPC != prefix("10.2.127.240/28") {
		t.Errorf("got %d pieces", len(all))
	}
}

// ownConfig is of a launch that names 32 addresses, of which EC2 has assigned the
// first half, and a route beyond the VPC.
func ownConfig(t *testing.T) Config {
	t.Helper()
	instance := launched(vpnDocument + perClient + "routes: [10.0.0.0/16, 203.0.113.64/26]\n")
	instance.Prefixes = prefixesOf("10.0.1.64/28")
	c, err := configure(instance)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const perClient = "nat: per-client\naddresses: [10.0.1.64/27]\n"

// TestPiecesStay: what is assigned decides who is told apart, and never by which
// address; nor does what the launch adds behind.
func TestPiecesStay(t *testing.T) {
	own := func(document string, prefixes ...string) (string, string) {
		instance := launched(vpnDocument + document)
		instance.Prefixes = prefixesOf(prefixes...)
		c, err := configure(instance)
		if err != nil {
			t.Fatal(err)
		}
		return piecesText(c.Own), piecesText(c.Missing)
	}
	for name, c := range map[string]struct {
		document string
		prefixes []string
		own      string
		missing  string
	}{
		"all":            {perClient, []string{"10.0.1.64/28", "10.0.1.80/28"}, "10.0.255.0/28=10.0.1.64/28 10.0.255.16/28=10.0.1.80/28", ""},
		"the second":     {perClient, []string{"10.0.1.80/28"}, "10.0.255.16/28=10.0.1.80/28", "10.0.255.0/28=10.0.1.64/28"},
		"none":           {perClient, nil, "", "10.0.255.0/28=10.0.1.64/28 10.0.255.16/28=10.0.1.80/28"},
		"somebody's too": {perClient, []string{"10.0.1.16/28", "10.0.1.64/28"}, "10.0.255.0/28=10.0.1.64/28", "10.0.255.16/28=10.0.1.80/28"},
		"a larger one":   {perClient, []string{"10.0.1.64/26"}, "10.0.255.0/28=10.0.1.64/28 10.0.255.16/28=10.0.1.80/28", ""},
		"one more": {"nat: per-client\naddresses: [10.0.1.64/27, 10.0.1.16/28]\n", []string{"10.0.1.16/28", "10.0.1.64/28", "10.0.1.80/28"},
			"10.0.255.0/28=10.0.1.64/28 10.0.255.16/28=10.0.1.80/28 10.0.255.32/28=10.0.1.16/28", ""},
		"masquerade": {"", []string{"10.0.1.64/28"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got, missing := own(c.document, c.prefixes...); got != c.own || missing != c.missing {
				t.Errorf("got %q and missing %q", got, missing)
			}
		})
	}
}

func TestConfigureRefusesAddresses(t *testing.T) {
	for name, c := range map[string]struct{ addresses, network, words string }{
		"too small":            {"[10.0.1.64/29]", "10.0.255.0/24", "\"addresses[0]\" \"10.0.1.64/29\" is not of a size that AWS assigns: allowed are /16 to /28"},
		"too large":            {"[10.0.0.0/15]", "10.0.255.0/24", "is not of a size"},
		"not in the subnet":    {"[10.1.0.0/28]", "10.0.255.0/24", "\"10.1.0.0/28\" is not in the instance's subnet \"10.0.0.0/16\""},
		"of the tunnel":        {"[10.0.255.0/28]", "10.0.255.0/24", "overlaps the tunnel network"},
		"twice":                {"[10.0.1.64/27, 10.0.1.80/28]", "10.0.255.0/24", "\"addresses[1]\" \"10.0.1.80/28\" overlaps \"10.0.1.64/27\""},
		"the instance's own":   {"[10.0.1.0/28]", "10.0.255.0/24", "has 10.0.1.2 in it (the instance's own address)"},
		"the subnet's first":   {"[10.0.0.0/28]", "10.0.255.0/24", "the subnet's network address"},
		"the subnet's last":    {"[10.0.255.240/28]", "10.0.3.0/24", "has 10.0.255.255 in it (kept by AWS in each subnet)"},
		"more than people own": {"[10.0.1.64/28, 10.0.1.80/28]", "10.0.3.0/27", "\"10.0.1.80/28\" is more than people can own of the tunnel network \"10.0.3.0/27\""},
		"no list":              {"10.0.1.64/28", "10.0.255.0/24", "\"addresses\" is \"10.0.1.64/28\""},
		"host bits":            {"[10.0.1.65/28]", "10.0.255.0/24", "an address in the network"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := configure(launched(fmt.Sprintf("%snetwork: %s\nnat: per-client\naddresses: %s\n", vpnDocument, c.network, c.addresses)))
			if state, _ := verdict(err); err == nil || state != Refused || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want %q", err, c.words)
			}
		})
	}
}

// ownGateway is one that tells client1, at 10.0.255.9, apart from client2, who has no
// fixed address.
func ownGateway(t *testing.T) *gateway {
	t.Helper()
	g := newGateway(t, vpnDocument+perClient)
	g.people.access.Roster[0].Address = netip.MustParseAddr("10.0.255.9")
	g.people.person("client2")
	g.good = *g.people
	g.cloud.publish(g.people.seal(t))
	return g
}

// loaded is what the packet filter says of translation.
func (g *gateway) loaded() []string {
	g.t.Helper()
	data, err := os.ReadFile(filepath.Join(g.machine.layout.rules(), rules4))
	if err != nil {
		g.t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "-A POSTROUTING") {
			lines = append(lines, strings.TrimSpace(strings.TrimPrefix(line, "-A POSTROUTING ")))
		}
	}
	return lines
}

const (
	firstPiece  = "-s 10.0.255.0/28 ! -o tun0 -j NETMAP --to 10.0.1.64/28"
	secondPiece = "-s 10.0.255.16/28 ! -o tun0 -j NETMAP --to 10.0.1.80/28"
	theRest     = "-s 10.0.255.0/24 ! -o tun0 -j MASQUERADE"
)

// TestBootPerClient: who is told apart, and who is not, is said.
func TestBootPerClient(t *testing.T) {
	g := ownGateway(t)
	g.cloud.assign("10.0.1.64/28", "10.0.1.80/28")
	r := g.boot()
	g.want(r, Ready, "")
	if got := g.loaded(); !slices.Equal(got, []string{firstPiece, secondPiece, theRest}) {
		t.Errorf("got %q", got)
	}
	if o := r.Own; o == nil || o.People != 1 || o.Others != 1 || len(o.Pieces) != 2 || len(o.Missing) != 0 {
		t.Errorf("got %+v", o)
	}
	if said := strings.Join(r.Warnings, "; "); !strings.Contains(said, "1 of 2 people have no VPC address of their own") {
		t.Errorf("warned of %q", said)
	}
	if !strings.Contains(r.Line(), " own-addresses=1/2 ") {
		t.Errorf("says %q", r.Line())
	}
}

// TestBootPerClientUnassigned: nobody begins with a log that tells nobody apart, and
// nobody who was let in is shut out for it.
func TestBootPerClientUnassigned(t *testing.T) {
	g := ownGateway(t)
	r := g.boot()
	g.want(r, Waiting, "EC2 has not assigned it 10.0.1.64/28, 10.0.1.80/28, and the VPC sees the gateway's own of 1 of 2 people")
	if !strings.Contains(r.Advice, "--ipv4-prefixes 10.0.1.64/28 10.0.1.80/28") || g.systemd.states[openvpnUnit] == "active" {
		t.Errorf("advises %q; openvpn is %q", r.Advice, g.systemd.states[openvpnUnit])
	}
	g.cloud.assign("10.0.1.64/28", "10.0.1.80/28")
	g.want(g.boot(), Ready, "")

	g.machine.reboot(t)
	g.systemd.states[openvpnUnit] = "inactive"
	g.cloud.assign()
	r = g.boot()
	g.want(r, Degraded, "EC2 has not assigned it 10.0.1.64/28, 10.0.1.80/28, and the VPC sees the gateway's own of 1 of 2 people")
	if got := g.loaded(); !slices.Equal(got, []string{theRest}) {
		t.Errorf("got %q", got)
	}
	if g.systemd.states[openvpnUnit] != "active" || g.cloud.tags[statusTag] != "degraded" || r.exitCode() != exitReady {
		t.Errorf("openvpn is %q, the tag %q, the exit code %d", g.systemd.states[openvpnUnit], g.cloud.tags[statusTag], r.exitCode())
	}
}

// TestSyncPerClient: what EC2 assigns and takes away comes in with the next sync, by a
// swap of the rules alone; until it changes, nothing is tried again.
func TestSyncPerClient(t *testing.T) {
	g := ownGateway(t)
	g.cloud.assign("10.0.1.64/28")
	g.want(g.boot(), Degraded, "10.0.1.80/28, and the VPC sees the gateway's own of 0 of 2 people")
	if got := g.loaded(); !slices.Equal(got, []string{firstPiece, theRest}) {
		t.Errorf("got %q", got)
	}
	proofs, jobs := g.proofs, len(g.systemd.jobs)
	g.sync(exitReady, "nothing new")
	g.sync(exitReady, "nothing new")
	if g.proofs != proofs || len(g.systemd.jobs) != jobs {
		t.Errorf("it proved %d times more, and asked systemd for %q", g.proofs-proofs, g.systemd.jobs[jobs:])
	}

	for _, c := range []struct {
		prefixes []string
		state    State
		loaded   []string
	}{
		{[]string{"10.0.1.80/28", "10.0.1.64/28"}, Ready, []string{firstPiece, secondPiece, theRest}},
		{[]string{"10.0.1.80/28"}, Degraded, []string{secondPiece, theRest}},
		{nil, Degraded, []string{theRest}},
		{[]string{"10.0.1.64/28", "10.0.1.80/28"}, Ready, []string{firstPiece, secondPiece, theRest}},
	} {
		jobs := len(g.systemd.jobs)
		g.cloud.assign(c.prefixes...)
		end := g.sync(exitReady, "brought in")
		r, err := readResult(g.machine.layout.result())
		if err != nil || r.State != c.state || end.Cause != "" {
			t.Errorf("with %q: %s (%s), sync %q, %v", c.prefixes, r.State, r.Cause, end.Cause, err)
		}
		if got := g.loaded(); !slices.Equal(got, c.loaded) {
			t.Errorf("with %q: got %q", c.prefixes, got)
		}
		for _, job := range g.systemd.jobs[jobs:] {
			if strings.Contains(job, openvpnUnit) {
				t.Errorf("with %q: %s", c.prefixes, job)
			}
		}
	}
}

// TestPerClientPastAWS: without an answer, a later boot goes on with the map that was
// proven, and says which.
func TestPerClientPastAWS(t *testing.T) {
	g := ownGateway(t)
	g.cloud.assign("10.0.1.64/28", "10.0.1.80/28")
	g.want(g.boot(), Ready, "")
	g.machine.reboot(t)
	g.systemd.states[openvpnUnit] = "inactive"
	g.cloud.spoil("imds", status(404))
	r := g.boot()
	g.want(r, Degraded, "instance metadata service")
	if r.Own == nil || len(r.Own.Pieces) != 2 || r.settled() {
		t.Errorf("got %+v, settled: %t", r.Own, r.settled())
	}
}
