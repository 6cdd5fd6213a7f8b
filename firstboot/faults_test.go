// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"flag"
	"fmt"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var updateFaults = flag.Bool("update-faults", false, "write testdata/faults.tsv from what is seen")

// fault is something that goes wrong, with how it passes.
type fault struct {
	part, name  string
	spoil, mend func(*gateway)
	// lasts: it passes by itself, and the cell is the whole of it, with the
	// unit's restarts.
	lasts time.Duration
	// cannot: while it lasts the daemon cannot be started, or cannot be proven.
	cannot bool
	// disk is the folder that gets a disk of its own, which takes root.
	disk func(*gateway) string
}

// moment is when it goes wrong.
type moment struct {
	name    string
	stood   bool // the gateway did, before
	prepare func(*gateway)
	// act is one run of the program.
	act func(*gateway) ended
	// again is how long until it is run again, the n-th time.
	again func(n int) time.Duration
}

// ended is how a run of the program ended: the state of the gateway, and what
// the command said.
type ended struct {
	state         State
	code          int
	cause, advice string
}

// moments: on the first boot, when the machine boots again, and when something
// new is published that the daemon has to be started anew for.
func moments(t *testing.T) []moment {
	unit := readPolicy(t)
	boot := func(g *gateway) ended {
		r := g.program().run(g.t.Context())
		g.check(r)
		cause := r.Cause
		if cause == "" && len(r.Warnings) > 0 {
			cause = r.Warnings[0]
		}
		if last := lastLine(g.console.String()); !strings.HasPrefix(last, "vpnami: "+string(r.State)+": ") {
			g.t.Errorf("the console ends with %q", last)
		}
		return ended{r.State, r.State.exitCode(), cause, r.Advice}
	}
	stand := func(g *gateway) {
		if r := g.program().run(g.t.Context()); r.State != Ready {
			g.t.Fatalf("it does not come to stand: %s", r.Line())
		}
	}
	return []moment{
		{"first boot", false, func(*gateway) {}, boot, unit.pause},
		{"later boot", true, func(g *gateway) {
			stand(g)
			g.machine.reboot(g.t)
			g.systemd.states[openvpnUnit] = "inactive"
		}, boot, unit.pause},
		{"sync", true, func(g *gateway) {
			stand(g)
			g.people.access.CRL = g.people.CRL(2, big.NewInt(666))
			server := g.people.Server()
			server.TLSCryptV2, server.Probe = g.people.server.TLSCryptV2, g.people.server.Probe
			g.people.server = server
			g.publishAgain(2)
		}, func(g *gateway) ended {
			end, said := g.syncs()
			r, err := readResult(g.machine.layout.result())
			if err != nil {
				g.t.Fatal(err)
			}
			g.check(r)
			e := ended{r.State, said.code, end.Cause, end.Advice}
			if e.cause == "" && e.code != exitReady {
				// Not even that could be written.
				e.cause, e.advice, _ = strings.Cut(strings.TrimSpace(said.out), " -- ")
				_, e.cause, _ = strings.Cut(e.cause, ": ")
			} else if e.cause == "" && len(r.Warnings) > 0 {
				e.cause = r.Warnings[0]
			}
			return e
		}, func(int) time.Duration { return unit.timer }},
	}
}

// cell is one line of the table.
type cell struct {
	part, fault, moment string
	ended
	within time.Duration
	passes string
}

func (c cell) key() string { return c.part + "\t" + c.fault + "\t" + c.moment }

func (c cell) String() string {
	return fmt.Sprintf("%s\t%s\t%d\t%s\t%s\t%s\t%s", c.key(), c.state, c.code, c.within, c.passes, c.cause, c.advice)
}

// TestFaults is the matrix of testdata/faults.tsv: what goes wrong, when, and
// how it ends. It runs on a clock of its own ([testing/synctest]) with the
// program's own clients, pauses and deadlines, so that it takes no longer than
// the work.
func TestFaults(t *testing.T) {
	faults := slices.Concat(ofServices(), published(), ofMachine(), ofDisk())
	committed := readCells(t)
	seen := map[string]cell{}
	var mu sync.Mutex
	left, played := 0, 0
	t.Run("cells", func(t *testing.T) {
		for _, f := range faults {
			for _, m := range moments(t) {
				c := cell{part: f.part, fault: f.name, moment: m.name}
				if f.disk != nil && os.Geteuid() != 0 && os.Getenv("VPNAMI_REQUIRE") == "" {
					left++
					continue
				}
				t.Run(strings.ReplaceAll(c.key(), "\t", " "), func(t *testing.T) {
					played++
					t.Parallel()
					var took time.Duration
					synctest.Test(t, func(t *testing.T) { took = c.play(t, f, m) })
					c.within = boundOf(took)
					was, known := committed[c.key()]
					if known && took <= was.within {
						c.within = was.within
					}
					if !*updateFaults && (!known || c.String() != was.String()) {
						t.Errorf("after %s it is\n%s\nand in the table\n%s", took, c, was)
					}
					mu.Lock()
					defer mu.Unlock()
					if !t.Failed() {
						seen[c.key()] = c
					}
				})
			}
		}
	})
	if *updateFaults {
		writeCells(t, seen)
		return
	}
	for key := range committed {
		// Who asks for some of the cells (-run) misses none of the others.
		if _, ok := seen[key]; !ok && played >= len(committed) {
			t.Errorf("not held: %s", key)
		}
	}
	t.Logf("%d of %d cells held", len(seen), len(committed))
	if left > 0 {
		t.Logf("%d cells take a disk of their own, and root", left)
	}
}

// play plays a cell, fills it in, and returns how long it took.
func (c *cell) play(t *testing.T, f fault, m moment) time.Duration {
	g := newGateway(t, vpnDocument)
	if f.disk != nil {
		g.mount(f.disk(g))
	}
	// SSH is closed behind a proven tunnel alone, in each cell.
	g.cloud.sealing = func() {
		if !g.systemd.proven || g.systemd.states[openvpnUnit] != "active" {
			t.Error("SSH is closed before the tunnel is proven")
		}
	}
	m.prepare(g)
	f.spoil(g)
	// The role may close SSH and not open it: when the daemon itself cannot run
	// any more, nothing is left to do but to say so, and to go on trying.
	g.broken = m.stood && f.cannot
	g.console.Reset()
	began := time.Now()
	told := map[string]time.Duration{}
	g.told = func(line string) {
		if _, ok := told[line]; !ok {
			told[line] = time.Since(began)
		}
	}
	c.ended = m.act(g)
	first := c.ended
	for n := 1; f.lasts > 0 && c.code != exitReady; n++ {
		time.Sleep(m.again(n))
		c.ended = m.act(g)
	}
	took := time.Since(began)
	g.told = nil
	c.cause, c.advice = first.cause, first.advice
	c.judge(t, g, f, m, told)
	c.cause, c.advice = plain(g, c.cause), plain(g, c.advice)
	f.mend(g)
	g.broken = false
	c.passes = g.passes(m)
	// A start that was given up looks for the rules once more, and ends.
	time.Sleep(2 * filterPoll)
	return took
}

// judge is what every cell has to hold, beside what [gateway.check] says of each
// run.
func (c *cell) judge(t *testing.T, g *gateway, f fault, m moment, told map[string]time.Duration) {
	t.Helper()
	if !slices.Contains([]State{Ready, Waiting, Refused, Degraded}, c.state) {
		t.Errorf("it ends as %q", c.state)
	}
	if c.code != exitReady && (c.cause == "" || c.advice == "") {
		t.Errorf("without a cause or an advice: %+v", c.ended)
	}
	if f.cannot && f.lasts == 0 && c.state == Ready && c.code == exitReady && !g.systemd.proven {
		t.Error("reported ready, and not so")
	}
	running := g.systemd.states[openvpnUnit] == "active"
	if m.stood && !f.cannot && !running {
		t.Error("a gateway that stood is down")
	}
	if g.cloud.tags[statusTag] == string(Ready) && !g.broken && !running {
		t.Error("the tag says ready, and it is down")
	}
	if strings.Contains(f.name, "403") && strings.HasPrefix(c.part, "ec2") && !strings.Contains(c.cause+c.advice, strings.Replace(c.part, " ", ":", 1)) {
		t.Errorf("the missing action is not named: %s -- %s", c.cause, c.advice)
	}
	if strings.Contains(f.name, "403") && c.part == "secretsmanager" && !strings.Contains(c.advice, "secretsmanager:GetSecretValue") && !strings.Contains(c.advice, "kms:Decrypt") {
		t.Errorf("the missing action is not named: %s -- %s", c.cause, c.advice)
	}
	if c.cause == "" {
		return
	}
	words, _, _ := strings.Cut(c.cause, ":")
	named := regexp.MustCompile(`"[^"]*"`).FindString(c.cause)
	soonest := time.Hour
	for line, at := range told {
		if strings.Contains(line, words) || strings.Contains(line, "is not over after") && strings.Contains(line, named) {
			soonest = min(soonest, at)
		}
	}
	if soonest > 5*time.Second {
		t.Errorf("%q is told after %s:\n%s", words, soonest, g.console.String())
	}
}

// passes tells how the gateway comes to be ready once the fault is over: by
// itself, as the units run the program again, or with the next boot.
func (g *gateway) passes(m moment) string {
	g.t.Helper()
	for n := 1; n < 12; n++ {
		time.Sleep(m.again(n))
		if e := m.act(g); e.code == exitReady && e.state == Ready {
			return "by itself"
		}
	}
	g.machine.reboot(g.t)
	g.systemd.states[openvpnUnit] = "inactive"
	r := g.program().run(g.t.Context())
	g.check(r)
	if r.State != Ready {
		g.t.Errorf("it does not pass: %s", r.Line())
	}
	return "with a boot"
}

// bounds are the times within which a cell is documented to end.
func boundOf(took time.Duration) time.Duration {
	took += took / 5 // what is random of the pauses
	for _, seconds := range []int{1, 5, 10, 15, 20, 30, 45, 60, 90, 120, 150} {
		if bound := time.Duration(seconds) * time.Second; took <= bound {
			return bound
		}
	}
	return 3 * time.Minute // TimeoutStartSec of the units
}
