// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package verify

import (
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
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// TestSecretComesLate launches a gateway before anything is published for it:
// it waits in words, lets nobody in, can be looked at over SSH, and finishes by
// itself when the secret appears.
func TestSecretComesLate(t *testing.T) {
	client := host(t, "client1")
	public := netip.MustParseAddr("203.0.113.20")
	group := newGatewayGroup(t, "late")
	late := launch(t, lab.LaunchSpec{
		Name: "late", PrivateAddress: netip.MustParseAddr("10.0.1.20"), PublicAddress: public,
		Groups: []string{group}, UserData: "#vpnami\nrole: vpn\nsecret: vpn/late\nssh: tunnel\n",
	})

	waitCause(t, late, "waiting", `"vpn/late/server"`)
	saysOnConsole(t, late, `vpnami: waiting: .*"vpn/late/server"`)
	if got := state(t, late, "openvpn-server@vpn.service"); got == "active" || got == "activating" {
		t.Errorf("openvpn is %s without a configuration", got)
	}
	// Left as launched, so that a person can look: and the probe of the tests
	// sees an open port as open.
	if _, err := client.WaitPort(within(t, bootTime()), ssh(public).String(), lab.PortOpen); err != nil {
		t.Error(err)
	}

	theOffice.pki(t, "publish", "--folder", theOffice.authority, "--secret", "vpn/late")
	ready(t, late)
	if got := state(t, late, "openvpn-server@vpn.service"); got != "active" {
		t.Errorf("openvpn is %s, want active", got)
	}
	expectPort(t, client, ssh(public), lab.PortFiltered)

	t.Run("its sshd is reachable through the tunnel when allowed", func(t *testing.T) {
		connect(t, client, profileFor(t, "client1", public))
		expectPort(t, client, ssh(netip.MustParseAddr("10.0.255.1")), lab.PortOpen)
	})
	terminate(t, late)
}

// waitCause waits until the instance reports a state with a cause that names
// something. Before that it may wait for its network.
func waitCause(t *testing.T, i *lab.Instance, state, name string) {
	t.Helper()
	ctx := within(t, bootTime())
	for {
		r, err := i.WaitState(ctx, state)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(r.Cause, name) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the cause does not name %s: %q", name, r.Cause)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// TestRefusedUserData: a key that nobody knows is refused by name, and the
// machine stays shut and can be looked at.
func TestRefusedUserData(t *testing.T) {
	public := netip.MustParseAddr("203.0.113.21")
	wrong := launch(t, lab.LaunchSpec{
		Name: "wrong", PrivateAddress: netip.MustParseAddr("10.0.1.21"), PublicAddress: public,
		Groups: []string{newGatewayGroup(t, "wrong")}, UserData: "#vpnami\nrole: vpn\nsecret: vpn/office\nnetworks: 10.9.0.0/24\n",
	})
	r, err := wrong.WaitState(within(t, bootTime()), "refused")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Cause, "networks") {
		t.Errorf("the cause does not name the key: %q", r.Cause)
	}
	if got := state(t, wrong, "openvpn-server@vpn.service"); got == "active" {
		t.Error("openvpn runs on a configuration that was refused")
	}
	if _, err := host(t, "client1").WaitPort(within(t, bootTime()), ssh(public).String(), lab.PortOpen); err != nil {
		t.Error(err)
	}
	terminate(t, wrong)
}

// TestCertificates tries to get in with what is not a person's certificate. The
// same profile with client1's certificate gets in first, so that what refuses
// the others is the certificate.
func TestCertificates(t *testing.T) {
	public := netip.MustParseAddr("203.0.113.22")
	vpn := launch(t, lab.LaunchSpec{
		Name: "strict", PrivateAddress: netip.MustParseAddr("10.0.1.22"), PublicAddress: public,
		Groups: []string{newGatewayGroup(t, "strict")},
		// By tags alone, as a launch template can.
		Tags: map[string]string{"vpnami:role": "vpn", "vpnami:secret": "vpn/office"}, MetadataTags: true,
	})
	ready(t, vpn)
	// Nothing is loose here: the hop limit is 1, and a token is asked for.
	if status := inside(t, vpn, "vpnami-firstboot", "status"); strings.Contains(status, "metadata service") {
		t.Errorf("warned without need:\n%s", status)
	}
	client := host(t, "client2")
	good := profileFor(t, "client1", public)
	connect(t, client, good)

	t.Run("of another authority", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "other")
		theOffice.pki(t, "init", "office", "--folder", other, "--server-name", "vpn.example.com")
		theOffice.pki(t, "issue", "client1", "--folder", other, "--out", t.TempDir(), "--remote", public.String())
		// Once all of its own, and once with what is not secret to a former
		// employee: this authority's certificate and a tls-crypt-v2 key.
		out := t.TempDir()
		theOffice.pki(t, "issue", "client2", "--folder", other, "--out", out, "--remote", public.String())
		foreign := filepath.Join(out, "client2.ovpn")
		refused(t, client, foreign)
		refused(t, client, transplant(t, good, foreign, "cert", "key"))
		log := inside(t, vpn, "journalctl", "--no-pager", "-u", "openvpn-server@vpn.service", "-g", "VERIFY ERROR")
		if !strings.Contains(log, "unable to get local issuer certificate") {
			t.Errorf("the log does not say that the issuer is unknown:\n%s", log)
		}
	})
	t.Run("of the probe, from the internet", func(t *testing.T) {
		server := serverSecret(t, "vpn/office")
		probe := writeProfile(t, replaceBlocks(t, read(t, good), map[string]string{
			"cert":         string(bundle.CertificatesPEM(server.Probe.Certificate)),
			"key":          string(server.Probe.Key.Reveal()),
			"tls-crypt-v2": string(server.Probe.TLSCryptV2.Reveal()),
		}))
		refused(t, client, probe)
		log := inside(t, vpn, "journalctl", "--no-pager", "-u", "openvpn-server@vpn.service", "-g", bundle.ProbeName)
		if !strings.Contains(log, client.Address().String()) {
			t.Errorf("the probe from %s never came as far as the hook:\n%s", client.Address(), log)
		}
	})
	t.Run("of the gateway itself", func(t *testing.T) {
		server := serverSecret(t, "vpn/office")
		refused(t, client, writeProfile(t, replaceBlocks(t, read(t, good), map[string]string{
			"cert": string(bundle.CertificatesPEM(server.Certificate)),
			"key":  string(server.Key.Reveal()),
		})))
		log := inside(t, vpn, "journalctl", "--no-pager", "--lines", "40", "-u", "openvpn-server@vpn.service")
		if !strings.Contains(log, client.Address().String()+":") || !wrongPurpose.MatchString(log) {
			t.Errorf("the log does not say that the certificate is for another purpose:\n%s", log)
		}
	})
	terminate(t, vpn)
}

// wrongPurpose is how OpenVPN or OpenSSL tells of a certificate that is not a
// client's; which of them looks first depends on the version.
var wrongPurpose = regexp.MustCompile(`VERIFY E?KU ERROR|VERIFY ERROR.*purpose`)

// serverSecret reads what was published, as somebody who stole it would.
func serverSecret(t *testing.T, prefix string) bundle.Server {
	t.Helper()
	out, err := secretsmanager.NewFromConfig(theOffice.AWS()).GetSecretValue(within(t, 10*time.Second), &secretsmanager.GetSecretValueInput{
		SecretId: aws.String(bundle.ServerID(prefix)), VersionStage: aws.String("AWSCURRENT"),
	})
	if err != nil {
		t.Fatal(err)
	}
	server, err := bundle.OpenServer([]byte(aws.ToString(out.SecretString)))
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// profileFor is a person's profile with another gateway's address in it.
func profileFor(t *testing.T, name string, public netip.Addr) string {
	t.Helper()
	text := read(t, theOffice.profile(name))
	changed := strings.ReplaceAll(text, "remote "+gatewayPublic.String()+" ", "remote "+public.String()+" ")
	if changed == text {
		t.Fatalf("the profile of %s has no line for %s", name, gatewayPublic)
	}
	return writeProfile(t, changed)
}

// transplant puts blocks of one profile into another.
func transplant(t *testing.T, into, from string, blocks ...string) string {
	t.Helper()
	source, taken := read(t, from), map[string]string{}
	for _, b := range blocks {
		m := block(b).FindStringSubmatch(source)
		if m == nil {
			t.Fatalf("%s has no <%s>", from, b)
		}
		taken[b] = m[1]
	}
	return writeProfile(t, replaceBlocks(t, read(t, into), taken))
}

func replaceBlocks(t *testing.T, profile string, blocks map[string]string) string {
	t.Helper()
	for name, content := range blocks {
		if !block(name).MatchString(profile) {
			t.Fatalf("the profile has no <%s>", name)
		}
		profile = block(name).ReplaceAllLiteralString(profile, "<"+name+">\n"+strings.TrimSpace(content)+"\n</"+name+">")
	}
	return profile
}

func block(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)<` + name + `>\n(.*?)\n?</` + name + `>`)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeProfile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "profile.ovpn")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newGatewayGroup makes a security group like the article's for the gateway,
// for one instance alone: sealing takes its SSH rule away.
func newGatewayGroup(t *testing.T, name string) string {
	t.Helper()
	api, ctx := ec2.NewFromConfig(theOffice.AWS()), within(t, 30*time.Second)
	out, err := api.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(name), Description: aws.String("gateway " + name), VpcId: aws.String(theOffice.VPC().ID),
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeSecurityGroup,
			Tags:         []types.Tag{{Key: aws.String("vpnami:consent"), Value: aws.String("seal-ssh")}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	world := []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}
	_, err = api.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: out.GroupId,
		IpPermissions: []types.IpPermission{
			{IpProtocol: aws.String("udp"), FromPort: aws.Int32(1194), ToPort: aws.Int32(1194), IpRanges: world},
			{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: world},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.GroupId)
}

func terminate(t *testing.T, i *lab.Instance) {
	t.Helper()
	if err := i.Terminate(within(t, bootTime())); err != nil {
		t.Error(err)
	}
}
