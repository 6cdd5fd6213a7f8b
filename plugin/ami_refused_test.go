// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto/ed25519"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/crypto/ssh"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/plugin/amitest"
)

// A bake that AWS refuses says why, and leaves nothing behind.
func TestAMIRefused(t *testing.T) {
	env := packerEnv(t, t.TempDir(), "")
	images, err := filepath.Abs("../images")
	if err != nil {
		t.Fatal(err)
	}
	moto := mototest.Start(t)
	for _, tt := range []struct {
		what, endpoint string
		vars           []string
		env            []string
		want           string
	}{
		{what: "no image of that name", endpoint: moto, vars: []string{"source_name=vpnami-no-such-*"}, want: "No AMI was found matching filters"},
		{what: "a stranger's image of that name", endpoint: moto, vars: []string{"source_name=*-20261125"}, want: "No AMI was found matching filters"},
		{what: "no credentials", endpoint: moto, env: []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}, want: "credential"},
		{what: "no such region to copy to", endpoint: moto, vars: []string{`copy_to=["eu-nowhere-1"]`}, want: "eu-nowhere-1"},
		{what: "no such subnet", endpoint: moto, vars: []string{"subnet_id=subnet-0bad0bad0bad0bad0"}, want: "subnet-0bad0bad0bad0bad0"},
		{what: "no capacity", endpoint: mototest.Refusing(t, moto, "RunInstances", "InsufficientInstanceCapacity"), want: "InsufficientInstanceCapacity"},
		{what: "quota", endpoint: mototest.Refusing(t, moto, "RunInstances", "VcpuLimitExceeded"), want: "VcpuLimitExceeded"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b := newAMIBake(t, env, images, tt.endpoint)
			b.Env = append(b.Env, tt.env...)
			b.Port = 9
			said, err := b.Packer(t, tt.vars...)
			if err == nil || !strings.Contains(unwrapped(said), tt.want) {
				t.Errorf("%v, want %q:\n%s", err, tt.want, said)
			}
			b.EC2 = mototest.EC2(moto, amitest.Region)
			b.CheckNothingLeft(t)
			if launched, err := b.EC2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}); err != nil || len(launched.Reservations) != 0 {
				t.Errorf("an instance was launched: %v, %v", launched, err)
			}
		})
	}
}

// A provisioner that fails: the guest turns out to be of a system that vpnami is not
// made of. The instance, the key and the group that AWS was asked for are gone.
func TestAMIProvisionerFails(t *testing.T) {
	env := packerEnv(t, t.TempDir(), "")
	images, err := filepath.Abs("../images")
	if err != nil {
		t.Fatal(err)
	}
	g := startStranger(t)
	b := newAMIBake(t, env, images, mototest.Start(t))
	b.Port = g.port
	said, err := b.Packer(t)
	if err == nil || !strings.Contains(said, `it is "A stranger 1"`) {
		t.Errorf("%v:\n%s", err, said)
	}
	if kind := <-g.key; kind != ssh.KeyAlgoED25519 {
		t.Errorf("the key that Packer made for the bake is of type %s", kind)
	}
	b.CheckNothingLeft(t)
	launched, err := b.EC2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
	if err != nil || len(launched.Reservations) != 1 {
		t.Errorf("one instance is launched and ended: %v, %v", launched, err)
	}
	if made := b.Made(t); len(made) != 0 {
		t.Errorf("a failed bake made an AMI: %v", made)
	}
	if _, err := os.Stat(b.Artifacts); err == nil {
		t.Error("a failed bake says that it made something")
	}
}

// stranger is an SSH server that lets any key in and answers every command with the
// os-release of a system that is none of ours. It runs nothing.
type stranger struct {
	port int
	key  chan string // type of the key that was let in first
}

func startStranger(t *testing.T) stranger {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	g := stranger{port: listener.Addr().(*net.TCPAddr).Port, key: make(chan string, 1)}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		select {
		case g.key <- key.Type():
		default:
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go g.serve(c, config)
		}
	}()
	return g
}

func (g stranger) serve(c net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				_ = r.Reply(r.Type == "exec", nil)
				if r.Type != "exec" {
					continue
				}
				_, _ = io.WriteString(channel, "PRETTY_NAME=\"A stranger 1\"\nID=stranger\nVERSION_ID=1\n")
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{}))
				_ = channel.Close()
			}
		}()
	}
}
