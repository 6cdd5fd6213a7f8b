// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// The article's network.
func articleInstance() Instance {
	return Instance{
		ID:      "i-0123456789abcdef0",
		Region:  "ap-northeast-1",
		Address: netip.MustParseAddr("10.0.1.2"),
		Public:  netip.MustParseAddr("203.0.113.10"),
		MAC:     "02:00:00:00:01:02",
		VPC:     []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Subnet:  netip.MustParsePrefix("10.0.0.0/16"),
		Groups:  []string{"sg-0aaa"},
	}
}

func launched(document string) Instance {
	i := articleInstance()
	i.UserData = []byte(document)
	return i
}

func articleConfig(tb testing.TB, lines ...string) Config {
	tb.Helper()
	c, err := configure(launched("#vpnami\nrole: vpn\nsecret: vpn/office\n" + strings.Join(lines, "\n") + "\n"))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// authority is a bundle with what a test needs to be a client of it.
type authority struct {
	*bundletest.Authority
	server bundle.Server
	access bundle.Access
}

func newAuthority(tb testing.TB, people ...bundle.Person) *authority {
	tb.Helper()
	return authorityOf(bundletest.New(tb, time.Now()), people...)
}

func authorityOf(ca *bundletest.Authority, people ...bundle.Person) *authority {
	a := &authority{Authority: ca}
	a.server = a.Server()
	a.access = bundle.Access{CRL: a.CRL(1), Roster: people}
	return a
}

// person issues a certificate and puts its bearer on the roster.
func (a *authority) person(name string) (*x509.Certificate, []byte) {
	certificate, key := a.Issue(name, x509.ExtKeyUsageClientAuth)
	a.access.Roster = append(a.access.Roster, bundle.Person{Name: name, Serials: []*big.Int{certificate.SerialNumber}})
	return certificate, key
}

func (a *authority) seal(tb testing.TB) bundle.Sealed {
	tb.Helper()
	sealed, err := bundle.Seal(a.server, a.access, "vpn/office", 1)
	if err != nil {
		tb.Fatal(err)
	}
	return sealed
}

func (a *authority) bundle(tb testing.TB) bundle.Bundle {
	tb.Helper()
	sealed := a.seal(tb)
	b, _, err := bundle.Open(sealed.Server, sealed.Head, sealed.Shards, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// machine is a root of its own, with the files that the image has.
type machine struct {
	layout    layout
	daemon    account
	store     store
	placement placement
}

// somebody is a user without rights: Debian's "nobody" has the same number.
const somebody = 65534

func newMachine(tb testing.TB) machine {
	tb.Helper()
	// Not TempDir: the daemon's user must be able to enter every folder of it.
	root, err := os.MkdirTemp("/tmp", "vpnami-firstboot-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(root) })
	m := machine{layout: layout{root: root}, daemon: account{somebody, somebody}}
	if os.Geteuid() != 0 {
		m.daemon = account{os.Geteuid(), os.Getegid()}
	}
	write := func(path, text string, mode os.FileMode) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		tb.Fatal(err)
	}
	write("etc/passwd", fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\n%s:x:%d:%d::/:/usr/sbin/nologin\n", daemonAccount, m.daemon.uid, m.daemon.gid), 0o644)
	write("etc/iptables/rules.v4", "# the image's\n", 0o640)
	write("etc/iptables/rules.v6", "# the image's\n", 0o640)
	write("proc/sys/net/ipv4/conf/all/forwarding", "1\n", 0o644)
	write("proc/sys/kernel/random/boot_id", "boot-one\n", 0o644)
	if err := os.MkdirAll(filepath.Join(root, stateFolder), 0o755); err != nil {
		tb.Fatal(err)
	}
	hook, err := os.ReadFile("../images/rootfs/usr/lib/vpnami/admit")
	if err != nil {
		tb.Fatal(err)
	}
	write("admit", strings.ReplaceAll(string(hook), stateFolder, filepath.Join(root, stateFolder)), 0o755)
	if err := os.Chmod(filepath.Join(root, "admit"), 0o755); err != nil {
		tb.Fatal(err)
	}
	write("usr/lib/vpnami/offload.conf", "disable-dco\n", 0o644)
	m.store = store{layout: m.layout, group: m.daemon.gid, bootID: "boot-one"}
	m.placement = placement{current: m.layout.current(), hook: filepath.Join(root, "admit"), offload: m.layout.offload()}
	return m
}

// reboot gives the machine another boot id.
func (m *machine) reboot(tb testing.TB) {
	tb.Helper()
	id := m.store.bootID + "-again"
	m.store.bootID = id
	if err := os.WriteFile(m.layout.bootID(), []byte(id+"\n"), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// need skips a test where the machine cannot run it, unless everything is
// required, as it is in CI.
func need(tb testing.TB, programs ...string) {
	tb.Helper()
	lack := func(format string, args ...any) {
		tb.Helper()
		if os.Getenv("VPNAMI_REQUIRE") != "" {
			tb.Fatalf(format, args...)
		}
		tb.Skipf(format, args...)
	}
	if os.Geteuid() != 0 {
		lack("needs root: it makes network namespaces, tun devices, mounts")
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			lack("needs %s: %v", program, err)
		}
	}
}
