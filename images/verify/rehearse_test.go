// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse && lab

package verify

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/images/launch/launchtest"
	"github.com/vpnami/packer-plugin-vpnami/images/verify/leftovers"
)

// labTarget is the article's office, whose bastion has no way out.
type labTarget struct{ *office }

// labRemote is an address of its own: the tests of the article have theirs.
var labRemote = netip.MustParseAddr("203.0.113.20")

func (l labTarget) launch(t *testing.T) {
	for _, args := range [][]string{{"issue", "out1", "out2", "--out", l.folder(), "--remote", labRemote.String()}, {"publish", "--secret", "vpn/office"}} {
		if out, err := l.pki(within(t, time.Minute), args...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for from, to := range map[string]string{"out1": "client1", "out2": "client2"} {
		data, err := os.ReadFile(filepath.Join(l.folder(), from+".ovpn"))
		if err == nil {
			err = os.WriteFile(filepath.Join(l.folder(), to+".ovpn"), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	launch(t, lab.LaunchSpec{Name: "out-vpn", PrivateAddress: netip.MustParseAddr("10.0.1.20"), PublicAddress: labRemote,
		Groups: []string{l.VPC().GroupVPN}, UserData: "#vpnami\nrole: vpn\nsecret: vpn/office\n"})
	launch(t, lab.LaunchSpec{Name: "out-step", PrivateAddress: netip.MustParseAddr("10.0.2.20"),
		Groups: []string{l.VPC().GroupStep}, UserData: "#vpnami\nrole: step\n"})
}

func (l labTarget) folder() string { return filepath.Join(l.Dir(), "outside") }

func (l labTarget) find(t *testing.T) site {
	t.Helper()
	s := site{remote: labRemote, login: login, profiles: l.folder(), client: host(t, "client2"), secret: "vpn/office",
		mirror: host(t, "desk").Address().String(), boots: bootTime()}
	for name, id := range map[string]*string{"out-vpn": &s.gateway, "out-step": &s.step} {
		i, err := l.Instance(within(t, 10*time.Second), name)
		if err != nil {
			t.Fatal(err)
		}
		*id, s.bastion = i.ID(), netip.MustParseAddr("10.0.2.20")
	}
	return s
}

func (l labTarget) console(ctx context.Context, instance string) (string, error) {
	i, err := l.Instance(ctx, instance)
	if err != nil {
		return "", err
	}
	return i.Console()
}

func (l labTarget) tags(ctx context.Context, instance string) (map[string]string, error) {
	return tagsOf(ctx, ec2.NewFromConfig(l.AWS()), instance)
}

func (l labTarget) pki(ctx context.Context, args ...string) (string, error) {
	if args[0] == "revoke" { // the profile client2 is of out2
		args = []string{"revoke", "out2"}
	}
	if args[0] != "reach" {
		args = append(args, "--folder", l.authority)
	}
	return l.runPKI(ctx, args...)
}

func (l labTarget) destroy(t *testing.T) {
	for _, name := range []string{"out-vpn", "out-step"} {
		i, err := l.Instance(context.WithoutCancel(t.Context()), name)
		if err == nil {
			err = i.Terminate(context.WithoutCancel(t.Context()))
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestOutsideOfTheLab is the suite against the lab.
func TestOutsideOfTheLab(t *testing.T) {
	reflect(t)
	fromOutside(t, labTarget{theOffice})
}

// TestOutsideOfAWS is the suite as "make verify-aws" runs it, by Terraform and with
// the rights of images/iam/verify.json alone, against moto with the lab's machines;
// and what ends a launch whose run was killed.
func TestOutsideOfAWS(t *testing.T) {
	launchtest.Need(t)
	reflect(t)
	data, err := os.ReadFile(filepath.Join("..", "iam", "verify.json"))
	if err != nil {
		t.Fatal(err)
	}
	policy := strings.ReplaceAll(string(data), "ACCOUNT", "123456789012")
	cfg := theOffice.AWS()
	keys := mototest.User(t, iam.NewFromConfig(cfg), "verifier", policy)
	if err := theOffice.EnforceIAM(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider(keys.ID, keys.Secret, "")
	desk := host(t, "desk")
	target := awsTarget{
		cfg: cfg, env: append(theOffice.AWSEnv(), keys.Environment()...), command: desk.Command,
		client: host(t, "client1"), ami: theOffice.VPC().Image, login: login, mirror: desk.Address().String(), boots: bootTime(),
		folder: filepath.Join(theOffice.Dir(), "aws"),
		// The lab gives out no addresses of another network.
		network: "10.0.0.0/16", tunnel: "10.0.255.0/24",
	}
	// The key of the launch is not the lab's.
	target.client = target.client.With(target.at("key"))
	fromOutside(t, target)

	t.Run("what a killed run left is ended", func(t *testing.T) {
		target.launch(t)
		if err := os.RemoveAll(target.folder); err != nil {
			t.Fatal(err)
		}
		// From another region, by what IAM has of it.
		elsewhere := cfg.Copy()
		elsewhere.Region = "eu-west-1"
		account, ended := leftovers.Open(elsewhere), 0
		if err := account.End(within(t, time.Minute), time.Now().Add(-time.Hour), "", func(what string) { t.Error(what + ", which is too young") }); err != nil {
			t.Fatal(err)
		}
		if err := account.End(within(t, 2*time.Minute), time.Now().Add(time.Minute), "", func(what string) { ended++; t.Log(what) }); err != nil {
			t.Error(err)
		}
		left, err := leftovers.Open(cfg).Find(within(t, time.Minute), time.Now().Add(time.Minute))
		if err != nil || len(left) > 0 {
			t.Errorf("left of %d: %v %v", ended, left, err)
		}
		if ended < 20 {
			t.Errorf("%d things are ended of a launch, which has more", ended)
		}
	})
}

// reflect has the desk answer over HTTP with the address that it sees.
func reflect(t *testing.T) {
	t.Helper()
	desk := host(t, "desk")
	var listener net.Listener
	err := desk.Do(func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", desk.Address().String()+":80")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		_, _ = w.Write([]byte(from.Addr().String() + "\n"))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}
