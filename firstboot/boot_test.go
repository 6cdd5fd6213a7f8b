// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// gateway is a machine, a cloud and systemd, to boot as often as a test wants.
type gateway struct {
	t       *testing.T
	machine machine
	cloud   *cloud
	systemd *fakeUnits
	people  *authority
	good    authority  // the people as they were at first
	lines   sync.Mutex // the console's: what takes long is told meanwhile
	console bytes.Buffer
	log     bytes.Buffer
	prove   error // what the next proofs say
	proving func() error
	proofs  int

	clock   time.Duration               // how far the machine's is off
	dialing func(context.Context) error // to systemd; nil is well
	jump    time.Duration               // by which the clock is set while the program runs
	far     bool                        // it is asked how far the metadata service's tokens go
	broken  bool                        // the daemon cannot run: it is not asked of the program
	told    func(line string)           // called for each line of the console
}

// Write is the console.
func (g *gateway) Write(line []byte) (int, error) {
	g.lines.Lock()
	defer g.lines.Unlock()
	if g.told != nil {
		g.told(string(line))
	}
	return g.console.Write(line)
}

const vpnDocument = "#vpnami\nrole: vpn\nsecret: vpn/office\n"

func newGateway(t *testing.T, document string) *gateway {
	t.Helper()
	m := newMachine(t)
	g := &gateway{t: t, machine: m, cloud: newCloud(t), systemd: newUnits(m.layout), people: newAuthority(t)}
	g.people.person("client1")
	g.good = *g.people
	g.cloud.launch(document)
	g.cloud.publish(g.people.seal(t))
	return g
}

// boot runs the program; the clock of the secret is the real one.
func (g *gateway) boot() Result {
	g.t.Helper()
	return g.bootIn(g.t.Context())
}

// bootIn runs the program in a context that a test may end.
func (g *gateway) bootIn(ctx context.Context) Result {
	g.t.Helper()
	b := g.program()
	r := b.run(ctx)
	// The marker says the same as the run.
	kept, err := readResult(g.machine.layout.result())
	if err != nil {
		g.t.Fatal(err)
	}
	if diff := cmp.Diff(r.State, kept.State); diff != "" {
		g.t.Error(diff)
	}
	if last := lastLine(g.console.String()); !strings.HasPrefix(last, "vpnami: "+string(r.State)+": ") {
		g.t.Errorf("the console ends with %q", last)
	}
	g.check(r)
	return r
}

// program is main's boot on this machine.
func (g *gateway) program() boot {
	service, clients := g.cloud.clients()
	g.systemd.probe = func() error {
		g.proofs++
		if g.proving != nil {
			return g.proving()
		}
		return g.prove
	}
	return boot{
		log:       slog.New(slog.NewTextHandler(&g.log, nil)),
		console:   console{to: g},
		layout:    g.machine.layout,
		placement: g.machine.placement,
		metadata:  service,
		services:  func(string) services { return clients },
		tokenless: tokenless(g.cloud.at("imds"), g.cloud.dial),
		far:       g.isFar,
		systemd: func(ctx context.Context) (units, func(), error) {
			if g.dialing != nil {
				if err := g.dialing(ctx); err != nil {
					return nil, nil, err
				}
			}
			return g.systemd.dial(ctx)
		},
		lastWords: g.systemd.lastWords,
		doing:     &doing{},
		now: func() time.Time {
			now := time.Now().Add(g.clock)
			g.clock, g.jump = g.clock+g.jump, 0
			return now
		},
		version: "1.2.3",
	}
}

// isFar: what comes over the loopback has a TTL of 64.
func (g *gateway) isFar(ctx context.Context) bool {
	return g.far && far(g.cloud.listen(g.t))(ctx)
}

// check is what must hold after every run, however it ended.
func (g *gateway) check(r Result) {
	g.t.Helper()
	running := g.systemd.states[openvpnUnit] == "active"
	ssh := slices.ContainsFunc(g.cloud.rules, func(r Rule) bool { return r.ID == "sgr-0ssh" })
	if !ssh && !running && r.Role == RoleVPN && !g.broken {
		g.t.Error("SSH is closed and the VPN is down")
	}
	g.checkPort(r)
	if r.State == Ready && r.Role == RoleVPN && (!running || ssh && g.cloud.consent["sg-0aaa"]) {
		g.t.Errorf("reported ready and not so: running %v, SSH open %v", running, ssh)
	}
	if !slices.ContainsFunc(g.cloud.rules, func(r Rule) bool { return r.ID == "sgr-0udp" }) && g.cloud.asked("ec2 Revoke") > 0 {
		g.t.Error("the daemon's ingress was revoked")
	}
	// What is proven may start when systemd comes to it; nothing else may.
	now, _ := g.machine.store.read(g.machine.layout.current())
	if proven, ok := g.machine.store.read(g.machine.layout.proven()); g.systemd.queued[openvpnUnit] && (!ok || now != proven) {
		g.t.Error("a start of the daemon is left queued")
	}
	for name := range tree(g.t, g.machine.layout.state()) {
		if strings.Contains(name, tempPrefix) {
			g.t.Errorf("left: %s", name)
		}
	}
	for _, text := range []string{g.console.String(), g.log.String()} {
		if strings.Contains(text, "PRIVATE KEY") {
			g.t.Error("a key was printed")
		}
	}
}

// checkPort: while SSH is closed, EC2 admits the port that the daemon runs on,
// and that is the port that is reported.
func (g *gateway) checkPort(r Result) {
	g.t.Helper()
	conf, err := os.ReadFile(filepath.Join(g.machine.layout.current(), "server.conf"))
	if err != nil || r.Role != RoleVPN {
		return
	}
	var port uint16
	for line := range strings.Lines(string(conf)) {
		_, _ = fmt.Sscanf(line, "port %d", &port)
	}
	admits := func(protocol string, port uint16) bool {
		return slices.ContainsFunc(g.cloud.rules, func(r Rule) bool {
			return r.covers(protocol, port) && (!r.Source.Network.IsValid() || r.Source.Network.Addr().Is4())
		})
	}
	if !admits("tcp", 22) && !admits("udp", port) {
		g.t.Errorf("SSH is closed, and nobody is let in to port %d, on which the daemon runs: %v", port, g.cloud.rules)
	}
	if r.Port != "" && r.Port != fmt.Sprintf("udp/%d", port) {
		g.t.Errorf("reported is %s, the daemon runs on %d", r.Port, port)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func (g *gateway) want(r Result, state State, words string) {
	g.t.Helper()
	if r.State != state || !strings.Contains(r.Cause, words) {
		g.t.Errorf("got %s: %q, want %s with %q\n%s", r.State, r.Cause, state, words, g.console.String())
	}
	if state != Ready && r.Advice == "" {
		g.t.Error("there is no advice")
	}
}

func TestBootVPN(t *testing.T) {
	g := newGateway(t, vpnDocument)
	began := time.Now()
	r := g.boot()
	g.want(r, Ready, "")
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %s", took)
	}
	var steps []string
	for _, s := range r.Steps {
		steps = append(steps, s.Name)
	}
	if diff := cmp.Diff([]string{"identify", "configure", "unseal", "render", "place", "start", "prove", "forward", "seal"}, steps); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"sgr-0ssh"}, r.SSH.Revoked); diff != "" {
		t.Error(diff)
	}
	if r.Server.Name != "vpn.example.com" || r.Server.People != 1 || r.CRL.Number != "1" || r.Port != "udp/1194" {
		t.Errorf("got %+v %+v %+v", r.Server, r.CRL, r.Port)
	}
	if g.cloud.tags[statusTag] != "ready" || !strings.Contains(g.cloud.tags[detailTag], "role=vpn") {
		t.Errorf("got %v", g.cloud.tags)
	}
}

// TestBootTokenless: a launch with IMDSv1 is told of, with what to say to EC2.
func TestBootTokenless(t *testing.T) {
	g := newGateway(t, vpnDocument)
	if r := g.boot(); len(r.Warnings) > 0 {
		t.Errorf("got %q", r.Warnings)
	}
	g.cloud.spoil("meta-data/instance-id", status(200))
	r := g.boot()
	g.want(r, Ready, "")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "--instance-id i-0123456789abcdef0 --http-tokens required") {
		t.Errorf("got %q", r.Warnings)
	}
	if !strings.Contains(g.console.String(), "warning: the metadata service answers without a token") {
		t.Errorf("not told: %s", g.console.String())
	}
}

func TestBootAgain(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.want(g.boot(), Ready, "")
	g.systemd.taken()
	before := stamps(t, g.machine)
	delete(before, g.machine.layout.result())
	delete(before, g.machine.layout.state()) // the folder that the result is in

	// Another run in the same boot, as after a crash of the program.
	g.want(g.boot(), Ready, "")
	if jobs := g.systemd.taken(); len(jobs) != 0 {
		t.Errorf("restarts %q", jobs)
	}
	// A reboot: the daemon is started, and no more.
	g.machine.reboot(t)
	g.systemd.states[openvpnUnit] = "inactive"
	g.want(g.boot(), Ready, "")
	if diff := cmp.Diff([]string{"restart " + openvpnUnit}, g.systemd.taken()); diff != "" {
		t.Error(diff)
	}
	after := stamps(t, g.machine)
	delete(after, g.machine.layout.result())
	delete(after, g.machine.layout.state())
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("something was written: %s", diff)
	}
	if n := g.cloud.asked("ec2 RevokeSecurityGroupIngress"); n != 1 {
		t.Errorf("revoked %d times", n)
	}
}

func TestBootStep(t *testing.T) {
	g := newGateway(t, "#vpnami\nrole: step\n")
	for _, service := range []string{"ec2", "secretsmanager"} {
		g.cloud.spoil(service, hang)
	}
	r := g.boot()
	g.want(r, Ready, "")
	if n := g.cloud.asked("ec2") + g.cloud.asked("secretsmanager") + g.cloud.asked("imds meta-data/iam"); n != 0 {
		t.Errorf("a step asks AWS %d times: %q", n, g.cloud.calls)
	}
	rules, err := os.ReadFile(filepath.Join(g.machine.layout.rules(), rules4))
	if err != nil || !strings.Contains(string(rules), "-A INPUT -s 10.0.0.0/16 -p tcp -m tcp --dport 22 -j ACCEPT") {
		t.Errorf("got %q, %v", rules, err)
	}
	if g.systemd.states[openvpnUnit] == "active" {
		t.Error("openvpn runs")
	}
}

// TestBootFails: a first boot that fails leaves nobody in, SSH as launched, and
// succeeds by itself once the cause is gone.
func TestBootFails(t *testing.T) {
	for name, c := range map[string]struct {
		spoil, mend func(*gateway)
		state       State
		words       string
	}{
		"no user-data":   {func(g *gateway) { delete(g.cloud.metadata, "user-data") }, func(g *gateway) { g.cloud.launch(vpnDocument) }, Waiting, "no document of vpnami"},
		"bad user-data":  {func(g *gateway) { g.cloud.launch(vpnDocument + "port: 22\n") }, func(g *gateway) { g.cloud.launch(vpnDocument) }, Refused, "\"port\" is \"22\""},
		"imds away":      {func(g *gateway) { g.cloud.spoil("imds", status(404)) }, func(g *gateway) { g.cloud.spoil("imds", nil) }, Waiting, "instance metadata service"},
		"secret missing": {func(g *gateway) { delete(g.cloud.secrets, "vpn/office/server") }, func(g *gateway) { g.cloud.publish(g.people.seal(g.t)) }, Waiting, "reading secret \"vpn/office/server\""},
		"secrets hang":   {func(g *gateway) { g.cloud.spoil("secretsmanager", hang) }, func(g *gateway) { g.cloud.spoil("secretsmanager", nil) }, Waiting, "reading secret \"vpn/office/server\""},
		"secret wrong":   {func(g *gateway) { g.cloud.secrets["vpn/office/server"] = []byte("{}") }, func(g *gateway) { g.cloud.publish(g.people.seal(g.t)) }, Refused, "opening secrets"},
		"filter":         {func(g *gateway) { g.systemd.fails[filterUnit] = "failed" }, func(g *gateway) { delete(g.systemd.fails, filterUnit) }, Refused, "netfilter-persistent.service"},
		"daemon":         {func(g *gateway) { g.systemd.fails[openvpnUnit] = "failed" }, func(g *gateway) { delete(g.systemd.fails, openvpnUnit) }, Refused, "(its last words)"},
		"proof":          {func(g *gateway) { g.prove = errors.New("connecting: AUTH_FAILED") }, func(g *gateway) { g.prove = nil }, Refused, "AUTH_FAILED"},
		"address taken": {func(g *gateway) {
			g.people.access.Roster[0].Address = articleInstance().Address
			g.cloud.publish(g.people.seal(g.t))
		}, func(g *gateway) {
			g.people.access.Roster[0].Address = bundle.PlanAddresses(prefix(bundle.DefaultNetwork)).Gateway.Next()
			g.cloud.publish(g.people.seal(g.t))
		}, Refused, "giving \"client1\" the address 10.0.1.2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, vpnDocument)
			c.spoil(g)
			began := time.Now()
			r := g.boot()
			g.want(r, c.state, c.words)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			if g.systemd.states[openvpnUnit] == "active" {
				t.Error("openvpn was left running")
			}
			if len(g.cloud.rules) != 2 {
				t.Errorf("the security group was touched: %v", g.cloud.rules)
			}
			if !strings.Contains(g.console.String(), c.words) {
				t.Errorf("the console does not say it: %s", g.console.String())
			}
			c.mend(g)
			g.want(g.boot(), Ready, "")
		})
	}
}

// TestBootUnsealed: the tunnel is proven, and SSH cannot be closed behind it.
func TestBootUnsealed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*cloud)
		words string
	}{
		"no UDP ingress": {func(c *cloud) { c.rules = c.rules[1:] }, "looking for ingress to udp/1194"},
		"denied":         {func(c *cloud) { c.spoil("ec2", denied) }, "UnauthorizedOperation"},
		"hanging":        {func(c *cloud) { c.spoil("DescribeSecurityGroups", hang) }, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, vpnDocument)
			rules := slices.Clone(g.cloud.rules)
			c.spoil(g.cloud)
			g.want(g.boot(), Waiting, c.words)
			if g.systemd.states[openvpnUnit] != "active" {
				t.Error("the proven tunnel was taken down")
			}
			if !slices.ContainsFunc(g.cloud.rules, func(r Rule) bool { return r.ID == "sgr-0ssh" }) {
				t.Error("SSH was closed")
			}
			g.cloud.rules = rules
			g.cloud.spoil("ec2", nil)
			g.cloud.spoil("DescribeSecurityGroups", nil)
			g.want(g.boot(), Ready, "")
		})
	}
}

func TestBootWithoutConsent(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.cloud.consent["sg-0aaa"] = false
	r := g.boot()
	g.want(r, Ready, "")
	if len(r.SSH.Left) != 1 || r.SSH.Left[0].Rule != "sgr-0ssh" || len(g.cloud.rules) != 2 {
		t.Errorf("got %+v, %v", r.SSH, g.cloud.rules)
	}
	if !strings.Contains(g.console.String(), "SSH stays open") || !strings.Contains(lastLine(g.console.String()), "left-open:1") {
		t.Errorf("not loud enough: %s", g.console.String())
	}
}
