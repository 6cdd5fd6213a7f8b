// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Where a lab lives. The disks of the instances may grow past what a tmpfs
// /run holds, so they are apart from the state.
const (
	runRoot   = "/run/vpnami-lab"
	diskRoot  = "/var/lib/vpnami-lab"
	cacheRoot = "/var/cache/vpnami-lab"
	netnsRoot = "/run/netns"
)

func runDir(name string) string  { return filepath.Join(runRoot, name) }
func diskDir(name string) string { return filepath.Join(diskRoot, name) }
func logDir(name string) string  { return filepath.Join(runDir(name), "logs") }

func consolePath(name, instance string) string {
	return filepath.Join(logDir(name), "console-"+instance+".log")
}

func namespaceName(name, station string) string { return "vpnami-" + name + "-" + station }

// labMark is in the environment of every process of a lab, so that [Down]
// finds also those that were not written down before a crash.
const labMark = "VPNAMI_LAB"

// The addresses of the lab. TEST-NET-1..3 (RFC 5737) are nobody's, and the
// links between routers are from RFC 6598; the VPC's are the article's.
const (
	endpointAddress = "192.0.2.10" // "AWS": its API
	endpointURL     = "http://" + endpointAddress
	serviceNetwork  = "192.0.2.0/24"
	metadataAddress = "169.254.169.254" // EC2's
	internetNetwork = "198.51.100.0/24"
	internetRouter  = "198.51.100.1/24"
	publicNetwork   = "203.0.113.0/24"
	vpcNetwork      = "10.0.0.0/16"
	vpcRouter       = "10.0.0.1" // EC2: the subnet's first address
	vpcResolver     = "10.0.0.2" // EC2: the VPC's network plus two

	linkInetVPC = "100.64.0.0/30" // .1 inet, .2 vpc: the internet gateway
	linkInetAWS = "100.64.1.0/30" // .1 inet, .2 aws
	linkVPCAWS  = "100.64.2.0/30" // .1 vpc, .2 aws
)

// loginUser is cloud-init's default user of a Debian image.
const loginUser = "debian"

var (
	// No dash, so that "vpnami-NAME-" is the beginning of no other lab's names.
	labName = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)
	// An interface name is at most 15 bytes and a port is "p-" and the station.
	stationName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,11}$`)
)

func checkLabName(name string) error {
	if !labName.MatchString(name) {
		return fmt.Errorf("lab name %q: want a lower-case letter and up to 11 letters or digits", name)
	}
	return nil
}

func checkStationName(name string) error {
	switch {
	case !stationName.MatchString(name):
		return fmt.Errorf("name %q: want a lower-case letter and up to 11 letters, digits or dashes", name)
	case name == "inet", name == "vpc", name == "aws":
		return fmt.Errorf("name %q: it is a part of the lab; choose another", name)
	}
	return nil
}

// defaultHosts are the people of the article, and the operator's desk.
func defaultHosts() []HostSpec {
	return []HostSpec{
		{Name: "client1", Address: netip.MustParseAddr("198.51.100.11")},
		{Name: "desk", Address: netip.MustParseAddr("198.51.100.12")},
		{Name: "client2", Address: netip.MustParseAddr("198.51.100.13")},
	}
}

// complete fills in the defaults and checks everything that can be checked
// before anything is made.
func (o Options) complete() (Options, error) {
	if err := checkLabName(o.Name); err != nil {
		return o, err
	}
	if os.Geteuid() != 0 {
		return o, fmt.Errorf("making lab %q: it needs root (network namespaces, mounts); run it with sudo", o.Name)
	}
	if o.Engine == "" {
		o.Engine = Nspawn
	}
	if o.Moto == "" {
		o.Moto = "moto_server"
	}
	if o.MetadataMock == "" {
		o.MetadataMock = filepath.Join(filepath.Dir(o.Program), "ec2-metadata-mock")
		if _, err := os.Stat(o.MetadataMock); err != nil {
			o.MetadataMock = "ec2-metadata-mock"
		}
	}
	if o.Hosts == nil {
		o.Hosts = defaultHosts()
	}
	programs := []*string{&o.Program, &o.Moto, &o.MetadataMock}
	for _, p := range programs {
		found, err := exec.LookPath(*p)
		if err != nil {
			return o, fmt.Errorf("looking for program %q (run `make build`): %w", *p, err)
		}
		if *p, err = filepath.Abs(found); err != nil {
			return o, err
		}
	}
	var err error
	if o.Image, err = filepath.Abs(o.Image); err != nil {
		return o, err
	}
	needs, file := []string{"ip", "nft", "dnsmasq", "nsenter", "openvpn", "ssh", "ssh-keygen"}, "root.tar"
	switch o.Engine {
	case Nspawn:
		needs = append(needs, "systemd-nspawn", "tar")
	case Qemu:
		needs, file = append(needs, "qemu-system-x86_64", "qemu-img"), "disk.raw"
	default:
		return o, fmt.Errorf("engine %q: want %q or %q", o.Engine, Nspawn, Qemu)
	}
	for _, p := range needs {
		if _, err := exec.LookPath(p); err != nil {
			return o, fmt.Errorf("looking for program %q (run `scripts/packages lab`): %w", p, err)
		}
	}
	if _, err := os.Stat(filepath.Join(o.Image, file)); err != nil {
		return o, fmt.Errorf("looking for the image (bake it first: `make image`): %w", err)
	}
	if err := checkTun(tunNode); err != nil {
		return o, err
	}
	return o, checkHosts(o.Hosts)
}

func checkHosts(hosts []HostSpec) error {
	network, router := netip.MustParsePrefix(internetNetwork), netip.MustParsePrefix(internetRouter).Addr()
	seen := map[string]string{router.String(): "the router"}
	for _, h := range hosts {
		if err := checkStationName(h.Name); err != nil {
			return fmt.Errorf("host: %w", err)
		}
		if !network.Contains(h.Address) || h.Address == router {
			return fmt.Errorf("host %q: address %q: want one of %s, and not the router's %s", h.Name, h.Address, network, router)
		}
		for _, key := range []string{h.Address.String(), h.Name} {
			if other, taken := seen[key]; taken {
				return fmt.Errorf("host %q: %q is taken by %s", h.Name, key, other)
			}
			seen[key] = "host " + h.Name
		}
	}
	return nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
