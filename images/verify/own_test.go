// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package verify

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// TestPerClient: with nat: per-client the bastion's own log tells people apart, by
// addresses that EC2 has assigned to the gateway, with its source check on and no
// route for the tunnel. What is not assigned shuts nobody out, and comes in without
// anybody feeling it.
func TestPerClient(t *testing.T) {
	client1, client2 := host(t, "client1"), host(t, "client2")
	private, public, bastion := netip.MustParseAddr("10.0.1.30"), netip.MustParseAddr("203.0.113.30"), netip.MustParseAddr("10.0.2.30")
	first, second := netip.MustParsePrefix("10.0.1.64/28"), netip.MustParsePrefix("10.0.1.80/28")
	people := filepath.Join(t.TempDir(), "people.csv")
	if err := os.WriteFile(people, []byte("name,address\nann,10.0.255.9\nbob,10.0.255.20\ncarl,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	theOffice.pki(t, "issue", "--from", people, "--folder", theOffice.authority, "--out", theOffice.profiles, "--remote", public.String())
	theOffice.pki(t, "publish", "--folder", theOffice.authority, "--secret", "vpn/own")

	group := newGatewayGroup(t, "own")
	vpn := launch(t, lab.LaunchSpec{
		Name: "own", PrivateAddress: private, PublicAddress: public, Prefixes: []netip.Prefix{first}, Groups: []string{group},
		UserData: "#vpnami\nrole: vpn\nsecret: vpn/own\nnat: per-client\naddresses: [10.0.1.64/27]\n",
	})
	step := launch(t, lab.LaunchSpec{Name: "own-step", PrivateAddress: bastion, Groups: []string{admittingGroup(t, group)}, UserData: stepDocument})
	waitCause(t, vpn, "degraded", second.String())
	ready(t, step)
	daemon := inside(t, vpn, "systemctl", "show", "--property=MainPID", "--value", "openvpn-server@vpn.service")

	connect(t, client1, theOffice.profile("ann"))
	connect(t, client2, theOffice.profile("bob"))
	// Its rules stand before its sshd does.
	if _, err := client1.WaitPort(within(t, bootTime()), ssh(bastion).String(), lab.PortOpen); err != nil {
		t.Fatal(err)
	}
	sees := func(who string, h *lab.Host, want netip.Addr) {
		t.Helper()
		seen, err := h.SSH(within(t, 30*time.Second), login, bastion, "echo ${SSH_CONNECTION%% *}")
		if err != nil {
			t.Fatal(err)
		}
		if seen = strings.TrimSpace(seen); seen != want.String() {
			t.Errorf("the bastion sees %s of %s, want %s", seen, who, want)
		}
	}
	annOwn, bobOwn := netip.MustParseAddr("10.0.1.73"), netip.MustParseAddr("10.0.1.84")
	sees("ann", client1, annOwn)
	sees("bob, whose address is not assigned", client2, private)

	change := prefixChange{t, vpn}
	change.assign(second)
	change.takenUp("ready")
	sees("ann", client1, annOwn)
	sees("bob", client2, bobOwn)
	log := inside(t, step, "journalctl", "--no-pager", "-u", "ssh.service", "-g", "Accepted publickey for "+login)
	var seen []string
	for _, found := range regexp.MustCompile(`Accepted publickey for \S+ from (\S+) port`).FindAllStringSubmatch(log, -1) {
		seen = append(seen, found[1])
	}
	if want := fmt.Sprint([]netip.Addr{annOwn, private, annOwn, bobOwn}); fmt.Sprint(seen) != want {
		t.Errorf("the bastion's sshd logs logins from %s, want %s:\n%s", seen, want, log)
	}
	whose := inside(t, vpn, "vpnami-firstboot", "whose", annOwn.String(), bobOwn.String())
	if !regexp.MustCompile(`(?m)^10\.0\.1\.73 +10\.0\.255\.9 +ann$\n^10\.0\.1\.84 +10\.0\.255\.20 +bob$`).MatchString(whose) {
		t.Errorf("the addresses of its log are not said to be ann's and bob's:\n%s", whose)
	}

	// By a person's address nobody in the VPC reaches her, nor the gateway.
	listen(t, client1, 7777)
	for _, port := range []string{"7777", "22"} {
		if out, err := step.Exec(within(t, 10*time.Second), "timeout", "2", "bash", "-c", "</dev/tcp/"+annOwn.String()+"/"+port); err == nil {
			t.Errorf("port %s of ann's address answers the bastion: %s", port, out)
		}
	}

	change.unassign(first, second)
	change.takenUp("degraded")
	sees("ann, whose address is gone", client1, private)
	if now := inside(t, vpn, "systemctl", "show", "--property=MainPID", "--value", "openvpn-server@vpn.service"); now != daemon {
		t.Errorf("the daemon was started again: %s, then %s", daemon, now)
	}
	change.assign(first, second)
	change.takenUp("ready")
	connect(t, host(t, "desk"), theOffice.profile("carl"))
	sees("carl, who has no fixed address", host(t, "desk"), private)
	if failed := inside(t, vpn, "systemctl", "--failed", "--plain", "--no-legend"); failed != "" {
		t.Errorf("failed:\n%s", failed)
	}
	terminate(t, vpn)
	terminate(t, step)
}

// admittingGroup lets those in by SSH who are in another group, by nothing but that.
func admittingGroup(t *testing.T, other string) string {
	t.Helper()
	api, ctx := ec2.NewFromConfig(theOffice.AWS()), within(t, 30*time.Second)
	out, err := api.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String("own-step"), Description: aws.String("bastion behind one gateway"), VpcId: aws.String(theOffice.VPC().ID)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: out.GroupId, IpPermissions: []types.IpPermission{
		{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String(other)}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.GroupId)
}

// prefixChange is what somebody changes of an instance's interface while it runs.
type prefixChange struct {
	t   *testing.T
	vpn *lab.Instance
}

func (c prefixChange) card() *string {
	c.t.Helper()
	out, err := ec2.NewFromConfig(theOffice.AWS()).DescribeInstances(within(c.t, 10*time.Second), &ec2.DescribeInstancesInput{InstanceIds: []string{c.vpn.ID()}})
	if err != nil {
		c.t.Fatal(err)
	}
	return out.Reservations[0].Instances[0].NetworkInterfaces[0].NetworkInterfaceId
}

func (c prefixChange) assign(prefixes ...netip.Prefix) {
	c.t.Helper()
	_, err := ec2.NewFromConfig(theOffice.AWS()).AssignPrivateIpAddresses(within(c.t, 10*time.Second), &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: c.card(), Ipv4Prefixes: words(prefixes)})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c prefixChange) unassign(prefixes ...netip.Prefix) {
	c.t.Helper()
	_, err := ec2.NewFromConfig(theOffice.AWS()).UnassignPrivateIpAddresses(within(c.t, 10*time.Second), &ec2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: c.card(), Ipv4Prefixes: words(prefixes)})
	if err != nil {
		c.t.Fatal(err)
	}
}

// takenUp has the gateway look, as its timer does each minute, until it says so.
func (c prefixChange) takenUp(state string) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		inside(c.t, c.vpn, "systemctl", "start", "vpnami-sync.service")
		r, err := c.vpn.Result(within(c.t, 10*time.Second))
		if err == nil && r.State == state {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("it is %s (%s), not %s: %v", r.State, r.Cause, state, err)
		}
	}
}

func words(prefixes []netip.Prefix) []string {
	var list []string
	for _, prefix := range prefixes {
		list = append(list, prefix.String())
	}
	return list
}
