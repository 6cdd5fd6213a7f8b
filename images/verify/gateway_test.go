// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package verify

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// TestArticle is the article from its launch to its last page, in order: each
// part needs the ones before it.
func TestArticle(t *testing.T) {
	client1, client2 := host(t, "client1"), host(t, "client2")

	// A gateway launched in the worst way that EC2 allows: the metadata service
	// answers over any number of hops and without a token. The image has to
	// stand it.
	vpn := launch(t, lab.LaunchSpec{
		Name: "vpn", PrivateAddress: gatewayPrivate, PublicAddress: gatewayPublic,
		Groups: []string{theOffice.VPC().GroupVPN}, UserData: "#vpnami\nrole: vpn\nsecret: vpn/office\n",
		HopLimit: 64, OptionalToken: true,
	})
	step := launch(t, lab.LaunchSpec{
		Name: "step", PrivateAddress: stepPrivate,
		Groups: []string{theOffice.VPC().GroupStep}, UserData: "#vpnami\nrole: step\n",
	})

	t.Run("boots to the marker", func(t *testing.T) {
		for _, i := range []*lab.Instance{vpn, step} {
			r := ready(t, i)
			if r.Role != i.Name() || r.Instance != i.ID() {
				t.Errorf("%s reports role %q of instance %q, want %q of %q", i.Name(), r.Role, r.Instance, i.Name(), i.ID())
			}
			saysOnConsole(t, i, `vpnami: ready: role=`+i.Name())
		}
		saysOnConsole(t, vpn, `vpnami: warning: the metadata service answers without a token`)
		saysOnConsole(t, vpn, `vpnami: warning: the metadata service.s tokens reach beyond this machine`)
	})
	t.Run("the bastion asks AWS for nothing", func(t *testing.T) {
		calls, err := theOffice.Calls()
		if err != nil {
			t.Fatal(err)
		}
		fromGateway := 0
		for _, c := range calls {
			switch c.Source {
			case stepPrivate:
				t.Errorf("step called %s", c.Action)
			case gatewayPrivate:
				fromGateway++
			}
		}
		if fromGateway == 0 {
			t.Error("no call of the gateway was seen: the list of calls shows nothing")
		}
	})
	t.Run("the gateway tells EC2", func(t *testing.T) {
		if got := instanceTag(t, vpn, "vpnami:status"); got != "ready" {
			t.Errorf("tag vpnami:status is %q, want ready", got)
		}
	})
	t.Run("its services run", func(t *testing.T) { servicesRun(t, vpn) })
	t.Run("its status tells what EC2 sees", func(t *testing.T) {
		// The lab's EC2 is named on the kernel command line, which units pass on.
		status := inUnit(t, vpn, "--wait", "--pipe", "-p", "PassEnvironment=AWS_ENDPOINT_URL", "vpnami-firstboot", "status")
		for _, want := range []string{"closed from outside the VPC, says EC2", "hop limit above 1"} {
			if !strings.Contains(status, want) {
				t.Errorf("no word of %q:\n%s", want, status)
			}
		}
		if !regexp.MustCompile(`(?m)^sessions +\d+, as of `).MatchString(status) {
			t.Errorf("no word of sessions:\n%s", status)
		}
	})
	t.Run("its services are confined", func(t *testing.T) { confined(t, vpn) })
	t.Run("it routes and filters", func(t *testing.T) { routesAndFilters(t, vpn) })
	t.Run("its kernel is set as laid down", func(t *testing.T) { kernelSettings(t, vpn) })
	t.Run("its folders are mounted as laid down", func(t *testing.T) { mountedAsLaidDown(t, vpn) })
	t.Run("the bastion runs no OpenVPN and forwards nothing", func(t *testing.T) {
		if got := state(t, step, "openvpn-server@vpn.service"); got == "active" {
			t.Error("openvpn is active on step")
		}
		if rules := inside(t, step, "iptables", "-S", "FORWARD"); rules != "-P FORWARD DROP" {
			t.Errorf("step's FORWARD chain is\n%s\nwant the policy DROP alone", rules)
		}
	})
	t.Run("its initrd drives EC2's disks and network cards", func(t *testing.T) {
		has := inside(t, vpn, "sh", "-c", "lsinitramfs /boot/initrd.img-*; cat /lib/modules/*/modules.builtin")
		for _, driver := range []string{"nvme", "ena", "virtio_blk", "virtio_net", "virtio_pci"} {
			if !regexp.MustCompile(`(?m)/` + driver + `\.ko(\.xz|\.zst)?$`).MatchString(has) {
				t.Errorf("it lacks %s", driver)
			}
		}
	})
	t.Run("its kernels translate address by address", func(t *testing.T) {
		// For nat: per-client; in a container, the machine's own kernel does it.
		for _, kernel := range strings.Fields(inside(t, vpn, "ls", "/lib/modules")) {
			inside(t, vpn, "sh", "-c", "ls /lib/modules/"+kernel+"/kernel/net/netfilter/xt_NETMAP.ko* || grep /xt_NETMAP.ko /lib/modules/"+kernel+"/modules.builtin")
		}
	})
	t.Run("its status tells which image it is", func(t *testing.T) {
		if status := inside(t, vpn, "vpnami-firstboot", "status"); !regexp.MustCompile(`(?m)^image +[0-9a-f]{12} of vpnami \S+ \(commit \S+\) on `).MatchString(status) {
			t.Errorf("no word of it:\n%s", status)
		}
	})
	t.Run("no service has failed", func(t *testing.T) {
		for _, i := range []*lab.Instance{vpn, step} {
			if failed := inside(t, i, "systemctl", "--failed", "--plain", "--no-legend"); failed != "" {
				t.Errorf("on %s:\n%s", i.Name(), failed)
			}
		}
	})
	t.Run("cloud-init is content", func(t *testing.T) {
		for _, i := range []*lab.Instance{vpn, step} {
			out, err := i.Exec(within(t, bootTime()), "cloud-init", "status", "--wait", "--long")
			if err != nil {
				t.Errorf("on %s: %v\n%s", i.Name(), err, out)
			}
		}
	})
	t.Run("UDP 1194 answers from outside", func(t *testing.T) {
		theOffice.pki(t, "reach", theOffice.profile("client1"))
	})
	t.Run("the bastion cannot be reached without the tunnel", func(t *testing.T) {
		expectPort(t, client1, ssh(stepPrivate), lab.PortUnreachable)
		// Also not when the internet carries the packets to the VPC's door.
		withInternetRoute(t, "10.0.0.0/16", func() {
			expectPort(t, client1, ssh(stepPrivate), lab.PortFiltered)
		})
		// The same probe, with the tunnel.
		connect(t, client1, theOffice.profile("client1"))
		expectPort(t, client1, ssh(stepPrivate), lab.PortOpen)
	})

	t.Run("a client connects and reaches the bastion", func(t *testing.T) {
		tunnel := connect(t, client1, theOffice.profile("client1"))
		if !netip.MustParsePrefix("10.0.255.0/24").Contains(tunnel.Address()) {
			t.Errorf("client1 has %s, want an address in 10.0.255.0/24", tunnel.Address())
		}
		logsInToStep(t, client1)
		from := inside(t, step, "journalctl", "--no-pager", "-u", "ssh.service", "-g", "Accepted publickey for "+login)
		if !strings.Contains(from, gatewayPrivate.String()) {
			t.Errorf("step's log does not show the login as coming from the gateway:\n%s", from)
		}
		log := inside(t, vpn, "journalctl", "--no-pager", "-u", "openvpn-server@vpn.service", "-g", "Peer Connection Initiated")
		if !strings.Contains(log, "[client1] Peer Connection Initiated with") || !strings.Contains(log, client1.Address().String()) {
			t.Errorf("the gateway's log does not name client1 at %s:\n%s", client1.Address(), log)
		}
	})

	t.Run("SSH from the internet is closed", func(t *testing.T) {
		expectPort(t, client1, ssh(gatewayPublic), lab.PortFiltered)
		rule := types.IpPermission{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
			IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}},
		}
		api, group := ec2.NewFromConfig(theOffice.AWS()), theOffice.VPC().GroupVPN
		if _, err := api.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{rule}}); err != nil {
			t.Fatalf("opening SSH again (which must be possible if it was closed): %v", err)
		}
		expectPort(t, client1, ssh(gatewayPublic), lab.PortOpen)
		if _, err := api.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{rule}}); err != nil {
			t.Fatal(err)
		}
		expectPort(t, client1, ssh(gatewayPublic), lab.PortFiltered)
	})

	t.Run("a client cannot reach the metadata service", func(t *testing.T) {
		tunnel := connect(t, client1, theOffice.profile("client1"))
		imds := netip.AddrPortFrom(metadata, 80)
		withRoute(t, client1, metadata, "dev", tunnel.Device(), func() {
			expectPort(t, client1, imds, lab.PortFiltered)
			withoutRule(t, vpn, []ruleChange{
				{"-t", "raw", "-D", "PREROUTING", "-d", "169.254.0.0/16", "-i", "tun0", "-j", "DROP"},
				{"-I", "FORWARD", "1", "-i", "tun0", "-d", "169.254.0.0/16", "-j", "ACCEPT"},
				{"-I", "FORWARD", "1", "-o", "tun0", "-s", "169.254.0.0/16", "-j", "ACCEPT"},
			}, func() {
				expectPort(t, client1, imds, lab.PortOpen)
			})
			expectPort(t, client1, imds, lab.PortFiltered)
		})
	})
	t.Run("a client cannot reach the gateway's own sshd", func(t *testing.T) {
		connect(t, client1, theOffice.profile("client1"))
		inTunnel := netip.MustParseAddr("10.0.255.1")
		for _, a := range []netip.Addr{inTunnel, gatewayPrivate} {
			expectPort(t, client1, ssh(a), lab.PortFiltered)
		}
		withoutRule(t, vpn, []ruleChange{{"-I", "INPUT", "1", "-i", "tun0", "-p", "tcp", "--dport", "22", "-j", "ACCEPT"}}, func() {
			for _, a := range []netip.Addr{inTunnel, gatewayPrivate} {
				expectPort(t, client1, ssh(a), lab.PortOpen)
			}
		})
	})
	t.Run("clients cannot reach each other", func(t *testing.T) {
		one, two := connect(t, client1, theOffice.profile("client1")), connect(t, client2, theOffice.profile("client2"))
		listen(t, client2, 8022)
		peer := netip.AddrPortFrom(two.Address(), 8022)
		expectPort(t, client1, peer, lab.PortFiltered)
		withoutRule(t, vpn, []ruleChange{{"-I", "FORWARD", "1", "-i", "tun0", "-o", "tun0", "-j", "ACCEPT"}}, func() {
			expectPort(t, client1, peer, lab.PortOpen)
		})
		if one.Address() == two.Address() {
			t.Errorf("both clients have %s", one.Address())
		}
	})

	t.Run("it all survives a reboot", func(t *testing.T) {
		if err := vpn.Reboot(within(t, bootTime())); err != nil {
			t.Fatal(err)
		}
		ready(t, vpn)
		servicesRun(t, vpn)
		routesAndFilters(t, vpn)
		expectPort(t, client1, ssh(gatewayPublic), lab.PortFiltered)
		connect(t, client1, theOffice.profile("client1"))
		logsInToStep(t, client1)
	})
	t.Run("it starts anew with libraries that have been replaced", func(t *testing.T) { refreshes(t, vpn, client1) })
	t.Run("it survives losing its power", func(t *testing.T) {
		if err := vpn.Kill(within(t, bootTime())); err != nil {
			t.Fatal(err)
		}
		if err := vpn.Start(within(t, bootTime())); err != nil {
			t.Fatal(err)
		}
		ready(t, vpn)
		connect(t, client1, theOffice.profile("client1"))
		logsInToStep(t, client1)
	})
	t.Run("who is not published is not let in", func(t *testing.T) {
		theOffice.pki(t, "issue", "client3", "--folder", theOffice.authority, "--out", theOffice.profiles, "--remote", gatewayPublic.String())
		refused(t, client2, theOffice.profile("client3"))
		theOffice.pki(t, "publish", "--folder", theOffice.authority, "--secret", "vpn/office")
		synced(t, vpn)
		connect(t, client2, theOffice.profile("client3"))
	})
	t.Run("who is revoked is refused within a minute, and nobody else feels it", func(t *testing.T) {
		session := connect(t, client1, theOffice.profile("client1"))
		before := inside(t, vpn, "systemctl", "show", "--property=MainPID", "openvpn-server@vpn.service")
		theOffice.pki(t, "revoke", "client3", "--folder", theOffice.authority)
		theOffice.pki(t, "publish", "--folder", theOffice.authority, "--secret", "vpn/office")
		synced(t, vpn)
		refused(t, client2, theOffice.profile("client3"))
		logsInToStep(t, client1)
		if after := inside(t, vpn, "systemctl", "show", "--property=MainPID", "openvpn-server@vpn.service"); after != before {
			t.Errorf("the daemon of the session at %s was started again: %s, %s", session.Address(), before, after)
		}
	})
	t.Run("a new certificate of the gateway comes in by itself", func(t *testing.T) {
		theOffice.pki(t, "renew-server", "--folder", theOffice.authority)
		theOffice.pki(t, "publish", "--folder", theOffice.authority, "--secret", "vpn/office")
		synced(t, vpn)
		connect(t, client1, theOffice.profile("client1"))
		logsInToStep(t, client1)
	})
}

// synced waits until the gateway has brought in by itself what was published
// last, for as long as is promised.
func synced(t *testing.T, vpn *lab.Instance) {
	t.Helper()
	const promised = 60 * time.Second
	published := theOffice.pki(t, "publish", "--folder", theOffice.authority, "--secret", "vpn/office")
	generation := regexp.MustCompile(`generation (\d+)`).FindString(published)
	if !strings.Contains(published, "has it all already") || generation == "" {
		t.Fatalf("it is not published: %q", published)
	}
	began := time.Now()
	for time.Since(began) < promised {
		if strings.Contains(inside(t, vpn, "vpnami-firstboot", "status"), generation+" of the secret") {
			t.Logf("%s came in after %s", generation, time.Since(began).Round(time.Second))
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatalf("%s has not come in within %s:\n%s", generation, promised, inside(t, vpn, "vpnami-firstboot", "status"))
}

// saysOnConsole asserts that a line of the console matches, a moment after the
// result was written.
func saysOnConsole(t *testing.T, i *lab.Instance, pattern string) {
	t.Helper()
	line, console := regexp.MustCompile(pattern), ""
	for range 30 {
		var err error
		if console, err = i.BootConsole(t.Context()); err != nil {
			t.Fatal(err)
		}
		if line.MatchString(console) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("no line of the console of %s matches %q:\n%s", i.Name(), pattern, console)
}

func servicesRun(t *testing.T, vpn *lab.Instance) {
	t.Helper()
	// The result stands a moment before its program has ended.
	for range 300 {
		if state(t, vpn, "vpnami-firstboot.service") != "activating" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, unit := range []string{"openvpn-server@vpn.service", "netfilter-persistent.service", "vpnami-firstboot.service"} {
		if got := state(t, vpn, unit); got != "active" {
			t.Errorf("%s is %s, want active", unit, got)
		}
	}
	who := inside(t, vpn, "ps", "-o", "user=", "-C", "openvpn")
	if got := strings.Fields(who); len(got) != 1 || !strings.HasPrefix(got[0], "vpnami") {
		t.Errorf("openvpn runs as %q, want one process of vpnami-openvpn (and no probe left)", got)
	}
}

// exposure is what "systemd-analyze security" says of a unit, of 10. OpenVPN's
// own unit, as distributions ship it, has 7.5.
var exposure = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)

func confined(t *testing.T, vpn *lab.Instance) {
	t.Helper()
	for _, unit := range []string{"openvpn-server@vpn.service", "vpnami-firstboot.service", "vpnami-sync.service", "vpnami-probe.service"} {
		report := inside(t, vpn, "systemd-analyze", "security", "--no-pager", unit)
		found := exposure.FindStringSubmatch(report)
		if found == nil {
			t.Errorf("%s: no exposure in\n%s", unit, report)
			continue
		}
		t.Logf("%s: exposure %s", unit, found[1])
		if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > 1.7 {
			t.Errorf("%s is exposed at %s, want at most 1.7:\n%s", unit, found[1], report)
		}
	}
}

func routesAndFilters(t *testing.T, vpn *lab.Instance) {
	t.Helper()
	if got := inside(t, vpn, "cat", "/proc/sys/net/ipv4/ip_forward"); got != "1" {
		t.Errorf("ip_forward is %s, want 1", got)
	}
	for _, program := range []string{"iptables", "ip6tables"} {
		rules := inside(t, vpn, program, "-S")
		for _, want := range []string{"-P INPUT DROP", "-P FORWARD DROP"} {
			if !strings.Contains(rules, want) {
				t.Errorf("%s lacks %q:\n%s", program, want, rules)
			}
		}
	}
	if nat := inside(t, vpn, "iptables", "-t", "nat", "-S", "POSTROUTING"); !strings.Contains(nat, "MASQUERADE") {
		t.Errorf("nothing is translated:\n%s", nat)
	}
}

func logsInToStep(t *testing.T, client *lab.Host) {
	t.Helper()
	out, err := client.SSH(within(t, 30*time.Second), login, stepPrivate, "ip", "-4", "-o", "addr")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, stepPrivate.String()) {
		t.Errorf("the machine behind ssh %s does not own that address:\n%s", stepPrivate, out)
	}
}

func instanceTag(t *testing.T, i *lab.Instance, key string) string {
	t.Helper()
	out, err := ec2.NewFromConfig(theOffice.AWS()).DescribeTags(within(t, 10*time.Second), &ec2.DescribeTagsInput{
		Filters: []types.Filter{{Name: aws.String("resource-id"), Values: []string{i.ID()}}, {Name: aws.String("key"), Values: []string{key}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Tags) == 0 {
		return ""
	}
	return aws.ToString(out.Tags[0].Value)
}
