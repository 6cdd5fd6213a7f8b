// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// The article's addresses.
const (
	gatewayPrivate = "10.0.1.2"
	gatewayPublic  = "203.0.113.10"
	stepPrivate    = "10.0.2.2"
	loginUser      = "debian" // cloud-init's default user of the image
)

// rehearsal is one run of the demo: each stage takes what those before it made.
type rehearsal struct {
	demo  *demo
	show  *progress
	found findings

	up        bool // something was made
	lab       *lab.Lab
	client    *lab.Host
	desk      *lab.Host
	vpn, step *lab.Instance
	opened    int // rules for SSH in the gateway's group, before the launch
	launched  time.Time
	watch     *portWatch
	session   *lab.Session
}

func (r *rehearsal) run(ctx context.Context) error {
	for _, s := range []struct {
		name string
		do   func(context.Context, *note) error
	}{
		{"make the VPC", r.makeLab},
		{"make the PKI at the desk", r.makePKI},
		{"publish the secret", r.publish},
		{"launch vpn and step", r.launch},
		{"wait for the first boot", r.waitReady},
		{"look at UDP 1194 from outside", r.reach},
		{"connect client1", r.connect},
		{"ssh to step through the tunnel", r.sshStep},
		{"read the gateway's log", r.readLog},
		{"ssh to the gateway from outside", r.sshGateway},
		{"reboot the gateway", r.reboot},
		{"connect client1 again", r.connectAgain},
	} {
		if err := r.show.stage(ctx, s.name, s.do); err != nil {
			return fmt.Errorf("to %s: %w", s.name, err)
		}
	}
	return nil
}

func (r *rehearsal) makeLab(ctx context.Context, n *note) error {
	r.up = true
	// A demo that was left running, or was killed.
	if err := lab.Down(ctx, r.demo.flags.name, r.demo.lab.Log); err != nil {
		return err
	}
	var err error
	if r.lab, err = lab.Up(ctx, r.demo.lab); err != nil {
		return err
	}
	if r.client, err = r.lab.Host("client1"); err != nil {
		return err
	}
	if r.desk, err = r.lab.Host("desk"); err != nil {
		return err
	}
	n.set("10.0.0.0/16, moto, metadata; instances run under %s", r.lab.Engine())
	return nil
}

func (r *rehearsal) authority() string  { return filepath.Join(r.lab.Dir(), "office") }
func (r *rehearsal) passphrase() string { return filepath.Join(r.lab.Dir(), "passphrase") }

func profilePath(l *lab.Lab, person string) string { return filepath.Join(l.Dir(), person+".ovpn") }

// pki runs the operator's command at the desk, a host on the internet.
func (r *rehearsal) pki(ctx context.Context, host *lab.Host, args ...string) (string, error) {
	// The operator's command answers in seconds; PBKDF2 is its longest part.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := host.Command(ctx, r.demo.pki, args...)
	cmd.Env = append(append(os.Environ(), r.lab.AWSEnv()...), "VPNAMI_PASSPHRASE_FILE="+r.passphrase())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running vpnami-pki %s on %q: %w\n%s%s", strings.Join(args, " "), host.Name(), err, out.String(), errs.String())
	}
	return out.String(), nil
}

func (r *rehearsal) makePKI(ctx context.Context, n *note) error {
	if err := os.WriteFile(r.passphrase(), []byte(rand.Text()+"\n"), 0o600); err != nil {
		return fmt.Errorf("writing the passphrase: %w", err)
	}
	if _, err := r.pki(ctx, r.desk, "init", "office", "--folder", r.authority(), "--server-name", "vpn.example.com"); err != nil {
		return err
	}
	_, err := r.pki(ctx, r.desk, "issue", "client1", "client2", "--folder", r.authority(), "--out", r.lab.Dir(), "--remote", gatewayPublic)
	n.set("authority office, profiles client1.ovpn and client2.ovpn")
	return err
}

func (r *rehearsal) publish(ctx context.Context, n *note) error {
	_, err := r.pki(ctx, r.desk, "publish", "--folder", r.authority(), "--secret", "vpn/office")
	n.set("vpn/office/server, vpn/office/access")
	return err
}

func (r *rehearsal) launch(ctx context.Context, n *note) error {
	vpc := r.lab.VPC()
	var err error
	if r.opened, err = r.sshRules(ctx); err != nil {
		return err
	}
	r.launched = time.Now()
	// From the desk: sshd remembers who connects and says nothing (PerSourcePenalties).
	r.watch = watchPort(ctx, r.desk, gatewayPublic+":22", r.launched)
	type launched struct {
		instance *lab.Instance
		err      error
	}
	stepDone := make(chan launched, 1)
	go func() {
		i, err := r.lab.Launch(ctx, lab.LaunchSpec{Name: "step", PrivateAddress: netip.MustParseAddr(stepPrivate),
			Groups: []string{vpc.GroupStep}, UserData: "#vpnami\nrole: step\n"})
		stepDone <- launched{i, err}
	}()
	vpn, err := r.lab.Launch(ctx, lab.LaunchSpec{Name: "vpn", PrivateAddress: netip.MustParseAddr(gatewayPrivate),
		PublicAddress: netip.MustParseAddr(gatewayPublic), Groups: []string{vpc.GroupVPN},
		UserData: "#vpnami\nrole: vpn\nsecret: vpn/office\n"})
	step := <-stepDone
	if err := errors.Join(err, step.err); err != nil {
		return err
	}
	r.vpn, r.step = vpn, step.instance
	n.set("vpn %s (%s), step %s (no public address)", gatewayPrivate, gatewayPublic, stepPrivate)
	return nil
}

func (r *rehearsal) bootWait() time.Duration {
	if r.lab.Engine() == lab.Qemu {
		return bootWaitQemu
	}
	return bootWait
}

func (r *rehearsal) waitReady(ctx context.Context, n *note) error {
	wait, cancel := context.WithTimeout(ctx, r.bootWait())
	defer cancel()
	result, err := r.vpn.WaitReady(wait)
	took := time.Since(r.launched)
	if err != nil {
		return err
	}
	if _, err := r.step.WaitReady(wait); err != nil {
		return err
	}
	n.set("VPN ready %s after the launch", seconds(took))
	bound := "no bound under qemu"
	within := true
	if r.lab.Engine() == lab.Nspawn {
		bound, within = "bound "+seconds(readyBound), took <= readyBound
	}
	var steps []string
	for _, s := range result.Steps {
		steps = append(steps, fmt.Sprintf("%s %d", s.Name, s.TookMS))
	}
	r.found.time(within, "launch to \"VPN ready\"", "%s (%s); steps in ms: %s", seconds(took), bound, strings.Join(steps, ", "))
	ssh := r.watch.stop()
	// A quick gateway is proven, and the rule gone, before its sshd answers.
	r.found.check(r.opened > 0, "SSH to the gateway was admitted at launch", "EC2 had %d for TCP 22 in group vpn; on the wire %s", r.opened, ssh)
	return nil
}

func (r *rehearsal) reach(ctx context.Context, n *note) error {
	out, err := r.pki(ctx, r.client, "reach", profilePath(r.lab, "client1"))
	if err != nil {
		return err
	}
	answer := strings.TrimSpace(out)
	n.set("%s", answer)
	r.found.check(true, "UDP 1194 is open from outside", "%s", answer)
	return nil
}

func (r *rehearsal) connect(ctx context.Context, n *note) error {
	// openvpn is there within a second, or gives up after its own minute.
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	session, err := r.client.Connect(wait, profilePath(r.lab, "client1"))
	if err != nil {
		return err
	}
	r.session = session
	n.set("%s in %s", session.Address(), seconds(session.Took()))
	r.found.check(true, "client1 connects", "address %s after %s", session.Address(), seconds(session.Took()))
	return nil
}

func (r *rehearsal) sshStep(ctx context.Context, n *note) error {
	seen, err := r.sshTo(ctx, stepPrivate)
	if err != nil {
		return err
	}
	n.set("%s", seen)
	r.found.check(true, "SSH to step, through the tunnel", "%s", seen)
	return nil
}

// sshTo logs in from client1 and has the other side say where it is and whom it sees.
func (r *rehearsal) sshTo(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := r.client.SSH(ctx, loginUser, netip.MustParseAddr(address), `echo "$(whoami)@$(hostname) sees ${SSH_CONNECTION%% *}"`)
	return strings.TrimSpace(out), err
}

func (r *rehearsal) readLog(ctx context.Context, n *note) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	journal, err := r.vpn.Journal(ctx, "--unit=openvpn-server@vpn", "--output=cat")
	if err != nil {
		return err
	}
	line := lineWith(journal, "[client1] Peer Connection Initiated")
	n.set("%s", line)
	r.found.check(line != "", "the gateway's log names who connected", "%s", orNone(line))
	return nil
}

func (r *rehearsal) sshGateway(ctx context.Context, n *note) error {
	// Silence for 2 s: an open port answers within milliseconds here.
	port, err := r.client.Probe(ctx, gatewayPublic+":22", 2*time.Second)
	if err != nil {
		return err
	}
	rules, err := r.sshRules(ctx)
	if err != nil {
		return err
	}
	n.set("%s; rules of the group for TCP 22: %d", port, rules)
	r.found.check(port == lab.PortFiltered && rules == 0, "SSH to the gateway is closed now", "no answer from %s:22 (%s); EC2 has %d rules for TCP 22 in group vpn", gatewayPublic, port, rules)
	return nil
}

// sshRules counts the group's rules that name port 22.
func (r *rehearsal) sshRules(ctx context.Context) (int, error) {
	client := ec2.NewFromConfig(r.lab.AWS())
	groups, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{r.lab.VPC().GroupVPN}})
	if err != nil {
		return 0, fmt.Errorf("reading the gateway's security group: %w", err)
	}
	count := 0
	for _, g := range groups.SecurityGroups {
		for _, p := range g.IpPermissions {
			if p.FromPort != nil && *p.FromPort == 22 {
				count++
			}
		}
	}
	return count, nil
}

func (r *rehearsal) reboot(ctx context.Context, n *note) error {
	if err := r.session.Close(); err != nil {
		return err
	}
	start := time.Now()
	if err := r.vpn.Reboot(ctx); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, r.bootWait())
	defer cancel()
	if _, err := r.vpn.WaitReady(wait); err != nil {
		return err
	}
	n.set("ready again after %s", seconds(time.Since(start)))
	return nil
}

func (r *rehearsal) connectAgain(ctx context.Context, n *note) error {
	if err := r.connect(ctx, n); err != nil {
		return err
	}
	r.found.lines = r.found.lines[:len(r.found.lines)-1] // told below, as one line
	seen, err := r.sshTo(ctx, stepPrivate)
	if err != nil {
		return err
	}
	r.found.check(true, "it all works again after a reboot", "address %s after %s; %s", r.session.Address(), seconds(r.session.Took()), seen)
	return r.session.Close()
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "no such line"
	}
	return s
}
