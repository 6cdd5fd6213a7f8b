// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// gateway is a machine, a cloud and systemd, to boot as often as a test wants.
type gateway struct {
	t       *testing.T
	machine machine
	cloud   *cloud
	systemd *fakeUnits
	people  *authority
	console bytes.Buffer
	log     bytes.Buffer
	prove   error // what the next proofs say
	proofs  int
}

const vpnDocument = "#vpnami\nrole: vpn\nsecret: vpn/office\n"

func newGateway(t *testing.T, document string) *gateway {
	t.Helper()
	g := &gateway{t: t, machine: newMachine(t), cloud: newCloud(t), systemd: newUnits(), people: newAuthority(t)}
	g.people.person("client1")
	g.cloud.launch(document)
	g.cloud.publish(g.people.seal(t))
	return g
}

// boot runs the program; the clock of the secret is the real one.
func (g *gateway) boot() Result {
	g.t.Helper()
	service := newMetadata(g.cloud.server.URL)
	b := boot{
		log:       slog.New(slog.NewTextHandler(&g.log, nil)),
		console:   console{to: &g.console},
		layout:    g.machine.layout,
		placement: g.machine.placement,
		metadata:  service,
		services:  regional(service, g.cloud.server.URL),
		systemd:   func(context.Context) (units, func(), error) { return g.systemd, func() {}, nil },
		prove: func(context.Context, string, account) error {
			g.proofs++
			return g.prove
		},
		lastWords: noWords,
		now:       time.Now,
		version:   "1.2.3",
	}
	r := b.run(g.t.Context())
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

// check is what must hold after every run, however it ended.
func (g *gateway) check(r Result) {
	g.t.Helper()
	running := g.systemd.states[openvpnUnit] == "active"
	ssh := slices.ContainsFunc(g.cloud.rules, func(r Rule) bool { return r.ID == "sgr-0ssh" })
	if !ssh && !running && r.Role == RoleVPN {
		g.t.Error("SSH is closed and the VPN is down")
	}
	if r.State == Ready && r.Role == RoleVPN && (!running || ssh && g.cloud.consent["sg-0aaa"]) {
		g.t.Errorf("reported ready and not so: running %v, SSH open %v", running, ssh)
	}
	if !slices.ContainsFunc(g.cloud.rules, func(r Rule) bool { return r.ID == "sgr-0udp" }) && g.cloud.asked("ec2 Revoke") > 0 {
		g.t.Error("the daemon's ingress was revoked")
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
	if diff := cmp.Diff([]string{"identify", "configure", "unseal", "render", "place", "start", "prove", "seal"}, steps); diff != "" {
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
	g.machine.reboot(t, "boot-two")
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
		"secret wrong":   {func(g *gateway) { g.cloud.secrets["vpn/office/server"] = []byte("{}") }, func(g *gateway) { g.cloud.publish(g.people.seal(g.t)) }, Refused, "opening secrets"},
		"filter":         {func(g *gateway) { g.systemd.fails[filterUnit] = "failed" }, func(g *gateway) { delete(g.systemd.fails, filterUnit) }, Refused, "netfilter-persistent.service"},
		"daemon":         {func(g *gateway) { g.systemd.fails[openvpnUnit] = "failed" }, func(g *gateway) { delete(g.systemd.fails, openvpnUnit) }, Refused, "(its last words)"},
		"proof":          {func(g *gateway) { g.prove = errors.New("connecting: AUTH_FAILED") }, func(g *gateway) { g.prove = nil }, Refused, "AUTH_FAILED"},
		"address taken": {func(g *gateway) {
			g.people.access.Roster[0].Address = articleInstance().Address
			g.cloud.publish(g.people.seal(g.t))
		}, func(g *gateway) {
			g.people.access.Roster[0].Address = planAddresses(prefix(defaultNetwork)).gateway.Next()
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

func TestBootTagsDenied(t *testing.T) {
	g := newGateway(t, vpnDocument)
	g.cloud.spoil("CreateTags", denied)
	r := g.boot()
	g.want(r, Ready, "")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "tagging") {
		t.Errorf("got %q", r.Warnings)
	}
}

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
			g.machine.reboot(t, "boot-two")
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
	g.prove = errors.New("connecting: port taken")
	// Both fail: there is nothing better to go back to.
	g.want(g.boot(), Refused, "port taken")
	if now, _ := g.machine.store.read(g.machine.layout.current()); now != good {
		t.Errorf("in force is %+v, want %+v", now, good)
	}
	g.prove = nil
	g.cloud.rules = append(g.cloud.rules, Rule{ID: "sgr-1195", Group: "sg-0aaa", Protocol: "udp", From: 1195, To: 1195, Source: Source{Network: prefix("0.0.0.0/0")}})
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
			g.machine.reboot(t, "boot-two")
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
