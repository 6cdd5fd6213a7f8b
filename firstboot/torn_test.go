// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const vpcBlocks = "meta-data/network/interfaces/macs/02:00:00:00:01:02/vpc-ipv4-cidr-blocks"

// moves publishes a new certificate of the gateway, for which the daemon starts
// anew, and gives the VPC another block, for which the rules do.
func (g *gateway) moves() {
	server := g.people.Server()
	server.TLSCryptV2 = g.people.server.TLSCryptV2
	g.people.server = server
	g.publishAgain(2)
	g.cloud.metadata[vpcBlocks] = "10.0.0.0/16\n10.8.0.0/16"
}

// TestSyncKilled: nobody runs vpnami-firstboot.service again after a sync that was
// killed. The next sync brings to its end what that has begun, and tells of it; and
// where nobody answers, it goes back to what was proven.
func TestSyncKilled(t *testing.T) {
	for n, step := 1, ""; n == 1 || step != ""; n++ {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, AWS away %v", n, away), func(t *testing.T) {
				g := newGateway(t, vpnDocument)
				g.want(g.boot(), Ready, "")
				g.sync(exitReady, "nothing new")
				g.moves()
				step = g.endAfter("sync", n)
				switch begun := g.torn(); {
				case step == "":
				case !away:
					g.sync(exitReady, "brought in generation 2")
				case begun:
					g.cloud.spoil("imds", status(404))
					g.sync(exitDegraded, "metadata service")
				}
				now, _ := g.machine.store.read(g.machine.layout.current())
				proven, _ := g.machine.store.read(g.machine.layout.proven())
				if waiting := g.machine.store.waiting(); len(waiting) > 0 || now != proven || !g.systemd.proven {
					t.Errorf("after the step %q: %q wait, in force is %s, proven %s, the daemon is proven: %v", step, waiting, now.Name, proven.Name, g.systemd.proven)
				}
				if r, _ := readResult(g.machine.layout.result()); r.Server == nil || *r.Server != now.Server {
					t.Errorf("after the step %q: it tells of %+v, in force is %+v", step, r.Server, now.Server)
				}
			})
		}
	}
}

func (g *gateway) torn() bool {
	before, _ := readResult(g.machine.layout.result())
	return g.program().torn(before)
}

// TestSyncKilledBeforeTheLink: the note that the rules are to be loaded stands, and
// nothing else; the daemon would wait for them for ever.
func TestSyncKilledBeforeTheLink(t *testing.T) {
	for _, away := range []bool{false, true} {
		g := newGateway(t, vpnDocument)
		g.want(g.boot(), Ready, "")
		g.sync(exitReady, "nothing new")
		if err := g.machine.store.setWaiting(filterUnit, openvpnUnit); err != nil {
			t.Fatal(err)
		}
		if away {
			g.cloud.spoil("imds", status(404))
			g.sync(exitDegraded, "metadata service")
			g.sync(exitWaiting, "metadata service")
		} else {
			g.sync(exitReady, "brought in generation 1")
			g.sync(exitReady, "nothing new")
		}
		if waiting := g.machine.store.waiting(); len(waiting) > 0 {
			t.Errorf("away %v: %q wait", away, waiting)
		}
	}
}

// TestRevokedStaysRevoked: whoever can make a proof fail, as by a flood of first
// packets, keeps nobody let in, least of all himself: what the last good state
// does not know of who is revoked, it is told.
func TestRevokedStaysRevoked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*gateway)
		both   bool // the proof of the last good state fails as well
	}{
		"the people":      {func(*gateway) {}, false},
		"nothing works":   {func(*gateway) {}, true},
		"the gateway too": {(*gateway).moves, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, vpnDocument)
			thief, _ := g.people.person("thief")
			g.publishAgain(1)
			g.want(g.boot(), Ready, "")
			good, _ := g.machine.store.read(g.machine.layout.current())
			before := g.people.server
			c.change(g)
			revoked := []*big.Int{thief.SerialNumber}
			if probe := before.Probe.Certificate; probe != g.people.server.Probe.Certificate {
				revoked = append(revoked, probe.SerialNumber)
			}
			g.people.access.CRL = g.people.CRL(2, revoked...)
			g.people.access.Roster = g.people.access.Roster[:1]
			g.publishAgain(2)
			g.proving = func() error {
				if now, _ := g.machine.store.read(g.machine.layout.current()); c.both || now.Files != good.Files {
					return errors.New("connecting: no answer")
				}
				return nil
			}
			if _, said := g.syncs(); said.code == exitReady || !strings.Contains(said.out, "no answer") {
				t.Fatalf("got %+v", said)
			}
			for range 2 {
				now, _ := g.machine.store.read(g.machine.layout.current())
				if now.Name != good.Name {
					t.Errorf("in force is generation %s", now.Name)
				}
				info, err := os.Stat(filepath.Join(g.machine.layout.current(), "revoked", thief.SerialNumber.String()))
				if err != nil || info.Mode() != fileMode {
					t.Errorf("the thief is let in again: %v, %v", info, err)
				}
				// Its own probe proves the last good state, and comes from here alone.
				if _, err := os.Stat(filepath.Join(g.machine.layout.current(), "revoked", before.Probe.Certificate.SerialNumber.String())); err == nil {
					t.Error("the last good state cannot be proven any more")
				}
				g.cloud.spoil("imds", status(404))
				g.reboot()
				g.boot()
			}
			g.cloud.spoil("imds", nil)
			g.proving = nil
			g.reboot()
			g.want(g.boot(), Ready, "")
			g.isClean()
		})
	}
}

// TestRevokedBehindAnotherLaunch: a launch that cannot be used yet keeps the last
// good state, and nobody in it who is revoked meanwhile.
func TestRevokedBehindAnotherLaunch(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.reboot()
	g.cloud.launch(vpnDocument + "port: 1195\n")
	g.want(g.boot(), Degraded, "udp/1195")
	g.people.access.CRL = g.people.CRL(2, big.NewInt(666), big.NewInt(667))
	g.publishAgain(2)
	g.sync(exitDegraded, "udp/1195")
	if info, err := os.Stat(filepath.Join(g.machine.layout.current(), revokedFolder, "666")); err != nil || info.Mode() != fileMode {
		t.Errorf("the revoked is let in: %v, %v", info, err)
	}
	g.isClean()
}

// TestRevokedSerialOfCA: OpenVPN looks for the serial of each certificate of a chain,
// whoever issued it: that of the CA itself would shut everybody out. Other programs
// have given a CA and a person the same.
func TestRevokedSerialOfCA(t *testing.T) {
	g := newGateway(t, vpnDocument)
	own := g.people.server.CA[0].SerialNumber
	g.people.access.CRL = g.people.CRL(2, own, big.NewInt(666))
	g.publishAgain(2)
	g.want(g.boot(), Ready, "")
	for serial, there := range map[string]bool{own.String(): false, "666": true} {
		if _, err := os.Stat(filepath.Join(g.machine.layout.current(), revokedFolder, serial)); (err == nil) != there {
			t.Errorf("serial %s: %v", serial, err)
		}
	}
}

// TestOthersRevoked: what another CA revokes is revoked by no last good state.
func TestOthersRevoked(t *testing.T) {
	g := newGateway(t, vpnDocument)
	person, _ := g.people.person("laptop")
	g.publishAgain(1)
	g.want(g.boot(), Ready, "")
	good, _ := g.machine.store.read(g.machine.layout.current())
	g.people = newAuthority(t)
	g.people.person("client1")
	g.people.access.CRL = g.people.CRL(2, person.SerialNumber)
	g.publishAgain(2)
	g.proving = g.provenOnly(good.Files)
	g.sync(exitDegraded, "AUTH_FAILED")
	if _, err := os.Stat(filepath.Join(g.machine.layout.current(), "revoked", person.SerialNumber.String())); err == nil {
		t.Error("somebody of the last good state is shut out")
	}
}
