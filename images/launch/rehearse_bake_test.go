// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/plugin/amitest"
)

// bake bakes the AMI by the template in images, as the plugin's own tests do, in the
// lab's account, with the rights of images/iam/bake.json alone; and promotes it with
// those of promote.json. What the launch boots from then on is what the bake made of
// the guest; EC2 itself, which would copy the guest's disk, is moto's record.
func (r *rehearsal) bake(t *testing.T) {
	images, err := filepath.Abs("..")
	fatal(t, err)
	endpoint := r.forward(t)
	env := append(append(os.Environ(), r.AWSEnv()...), "AWS_ENDPOINT_URL="+endpoint, "PACKER_CACHE_DIR="+t.TempDir())
	as := func(policy string) []string {
		user := mototest.User(t, iam.NewFromConfig(r.AWS()), policy, shipped(t, policy))
		return append(env[:len(env):len(env)], user.Environment()...)
	}
	b := amitest.New(t, as("bake.json"), images, endpoint, ec2.NewFromConfig(r.AWS()))
	b.Port = r.guest.Port
	said, err := b.Packer(t, "commit=abc1234")
	if err != nil {
		t.Fatalf("baking the AMI: %v\n%s", err, said)
	}
	b.CheckNothingLeft(t)
	made := b.CheckAMI(t)
	r.guest.CheckBaked(t, b.Manifest)
	b.Env = as("promote.json")
	b.CheckPromoted(t)
	r.guest.End()
	r.login = "ubuntu" // as in the guest, and in what becomes of it
	r.vars["ami"] = aws.ToString(made.ImageId)
	fatal(t, r.Boots(t.Context(), r.vars["ami"], r.guest.Root))
	t.Logf("%s: %s; the provisioner's share %.1f s", r.vars["ami"], aws.ToString(made.Name), amitest.Share(said).Seconds())
}

// shipped is a policy of images/iam, for the lab's account.
func shipped(t *testing.T, policy string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "iam", policy))
	fatal(t, err)
	return strings.ReplaceAll(string(data), "ACCOUNT", "123456789012")
}

// forward lets programs of this machine itself reach the lab's AWS: a bake needs
// Debian's archive as well, which the lab's internet does not have. It returns the
// address, and ends with the test.
func (r *rehearsal) forward(t *testing.T) string {
	t.Helper()
	desk, err := r.Host("desk")
	fatal(t, err)
	to, err := url.Parse(r.Endpoint())
	fatal(t, err)
	address := to.Host
	if to.Port() == "" {
		address = net.JoinHostPort(to.Host, "80")
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	fatal(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go pass(c, desk, address)
		}
	}()
	return "http://" + listener.Addr().String()
}

// pass carries one connection until either side ends it.
func pass(c net.Conn, host *lab.Host, address string) {
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	far, err := host.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer far.Close()
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(far, c); done <- struct{}{} }()
	go func() { _, _ = io.Copy(c, far); done <- struct{}{} }()
	<-done
}
