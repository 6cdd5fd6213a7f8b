// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/vishvananda/netlink"
)

// These tests make a real lab: they need root and its programs, and they fail
// without when VPNAMI_REQUIRE is set. Its machines are the smallest there are
// (testdata/init): what is tested is the VPC, not the image.

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("VPNAMI_REQUIRE") != "" {
		t.Fatal("this test needs root, and VPNAMI_REQUIRE forbids to skip it")
	}
	t.Skip("this test needs root")
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// smallImage makes an image folder whose machine is testdata/init alone.
func smallImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-o", program, "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building init: %v\n%s", err, out)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"usr", "usr/bin", "usr/lib", "usr/lib/systemd", "etc", "dev", "proc", "sys", "run", "tmp", "var", "root"} {
		put(tar.Header{Name: d + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	for name, target := range map[string]string{"bin": "usr/bin", "sbin": "usr/bin", "lib": "usr/lib"} {
		put(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, nil)
	}
	put(tar.Header{Name: "usr/lib/os-release", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("ID=lab\n"))
	put(tar.Header{Name: "etc/os-release", Typeflag: tar.TypeSymlink, Linkname: "../usr/lib/os-release", Mode: 0o777}, nil)
	put(tar.Header{Name: "etc/machine-id", Typeflag: tar.TypeReg, Mode: 0o444}, nil)
	put(tar.Header{Name: "usr/lib/systemd/systemd", Typeflag: tar.TypeReg, Mode: 0o755}, data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "image")
	if err := os.Mkdir(image, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(image, "root.tar"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return image
}

func options(t *testing.T, name string) Options {
	t.Helper()
	program := filepath.Join(t.TempDir(), "vpnami-lab")
	if out, err := exec.Command("go", "build", "-o", program, "./vpnami-lab").CombinedOutput(); err != nil {
		t.Fatalf("building vpnami-lab: %v\n%s", err, out)
	}
	return Options{Name: name, Image: smallImage(t), Program: program, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func up(t *testing.T, o Options) *Lab {
	t.Helper()
	if err := Down(within(t, time.Minute), o.Name, o.Log); err != nil {
		t.Fatal(err)
	}
	l, err := Up(within(t, 2*time.Minute), o)
	t.Cleanup(func() {
		if t.Failed() && l != nil {
			if text, err := os.ReadFile(filepath.Join(l.LogDir(), "agent.log")); err == nil {
				t.Logf("the agent's log:\n%s", text)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := Down(ctx, o.Name, o.Log); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// office is a lab with two instances, as in the article.
type office struct {
	*Lab
	t         *testing.T
	ec2       *ec2.Client
	vpn, step *Instance
	client    *Host
}

const (
	vpnAddress    = "10.0.1.2"
	stepAddress   = "10.0.2.2"
	publicAddress = "203.0.113.10"
)

func openOffice(t *testing.T, name string) *office {
	t.Helper()
	l := up(t, options(t, name))
	o := &office{Lab: l, t: t, ec2: ec2.NewFromConfig(l.AWS())}
	o.vpn = o.launch(LaunchSpec{Name: "vpn", PrivateAddress: netip.MustParseAddr(vpnAddress), PublicAddress: netip.MustParseAddr(publicAddress), Groups: []string{l.VPC().GroupVPN}})
	o.step = o.launch(LaunchSpec{Name: "step", PrivateAddress: netip.MustParseAddr(stepAddress), Groups: []string{l.VPC().GroupStep}})
	var err error
	if o.client, err = l.Host("client1"); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) launch(spec LaunchSpec) *Instance {
	o.t.Helper()
	i, err := o.Launch(within(o.t, 30*time.Second), spec)
	if err != nil {
		o.t.Fatal(err)
	}
	o.address(i)
	return i
}

func instanceNS(i *Instance) namespace { return openNamespace(i.Namespace()) }

// address does what DHCP would tell the machine to do.
func (o *office) address(i *Instance) {
	o.t.Helper()
	err := inside(instanceNS(i), func(h *netlink.Handle) error {
		if err := setUp(h, instanceDevice, i.PrivateAddress().String()+"/16"); err != nil {
			return err
		}
		return routeVia(h, instanceDevice, "0.0.0.0/0", vpcRouter)
	})
	if err != nil {
		o.t.Fatal(err)
	}
}

// listen answers TCP connections to a port with the caller's address.
func (o *office) listen(ns namespace, address string) {
	o.t.Helper()
	listener, err := ns.listen(o.t.Context(), address)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, conn.RemoteAddr())
			conn.Close()
		}
	}()
}

func (o *office) want(ns namespace, address string, want Port) {
	o.t.Helper()
	// An answer takes a millisecond here; silence is told after 400.
	got, err := probe(within(o.t, 10*time.Second), ns, address, 400*time.Millisecond)
	if err != nil {
		o.t.Fatal(err)
	}
	if got != want {
		o.t.Errorf("%s from %s is %s, want %s", address, ns.name, got, want)
	}
}

// from dials with a source address of choice and returns what the listener saw.
func (o *office) from(ns namespace, source, address string) (string, error) {
	var seen string
	err := ns.do(func() error {
		d := net.Dialer{Timeout: 400 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		conn, err := d.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		line, err := io.ReadAll(conn)
		seen = string(line)
		return err
	})
	return seen, err
}

func (o *office) api(what string, err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("%s: %v", what, err)
	}
}

func (o *office) authorize(group string, perms ...types.IpPermission) {
	o.t.Helper()
	_, err := o.ec2.AuthorizeSecurityGroupIngress(within(o.t, 10*time.Second), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: perms})
	o.api("authorizing", err)
}

func (o *office) revoke(group string, perms ...types.IpPermission) {
	o.t.Helper()
	_, err := o.ec2.RevokeSecurityGroupIngress(within(o.t, 10*time.Second), &ec2.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: perms})
	o.api("revoking", err)
}

func tcp(from, to int32, cidr string) types.IpPermission {
	return types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &from, ToPort: &to, IpRanges: []types.IpRange{{CidrIp: aws.String(cidr)}}}
}
