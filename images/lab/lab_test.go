// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"flag"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not up to date (-want +got); go test -update writes it anew:\n%s", path, diff)
	}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// articleNetwork is the article's two instances, with a rule of every kind.
func articleNetwork() network {
	world := []netip.Prefix{prefix("0.0.0.0/0")}
	all := []permission{{Protocol: "-1", From: -1, To: -1, CIDRs: world}}
	return network{
		CIDRs: []netip.Prefix{prefix("10.0.0.0/16")},
		Ports: []port{
			{Name: "vpn", Interface: "eni-1", Instance: "i-1", Subnet: "subnet-1", Addresses: []netip.Addr{addr("10.0.1.2")},
				Public: map[netip.Addr]netip.Addr{addr("10.0.1.2"): addr("203.0.113.10")}, Groups: []string{"sg-vpn"}},
			{Name: "step-2", Interface: "eni-2", Instance: "i-2", Subnet: "subnet-2", Addresses: []netip.Addr{addr("10.0.2.2"), addr("10.0.2.3")},
				Prefixes: []netip.Prefix{prefix("10.0.2.64/28")},
				Groups:   []string{"sg-step", "sg-gone"}, SourceCheck: true},
		},
		Groups: map[string]group{
			"sg-vpn": {Egress: all, Ingress: []permission{
				{Protocol: "udp", From: 1194, To: 1194, CIDRs: world},
				{Protocol: "tcp", From: 22, To: 22, CIDRs: world},
			}},
			"sg-step": {Egress: all, Ingress: []permission{
				{Protocol: "tcp", From: 22, To: 22, CIDRs: []netip.Prefix{prefix("10.0.0.0/16")}},
				{Protocol: "tcp", From: 8000, To: 8080, Groups: []string{"sg-vpn"}},
				{Protocol: "tcp", From: 9000, To: 9000, Groups: []string{"sg-empty"}},
				{Protocol: "udp", From: 0, To: 65535, Groups: []string{"sg-vpn"}},
				{Protocol: "icmp", From: -1, To: -1, CIDRs: []netip.Prefix{prefix("10.0.0.0/16")}},
				{Protocol: "icmp", From: 3, To: 4, CIDRs: world},
				{Protocol: "icmp", From: 8, To: -1, CIDRs: world},
				{Protocol: "icmpv6", From: -1, To: -1, CIDRs: world},
				{Protocol: "50", From: -1, To: -1, CIDRs: world},
				{Protocol: "-1", From: -1, To: -1, Groups: []string{"sg-step"}},
			}},
		},
		Tables: map[string][]vpcRoute{
			"subnet-1": {{Destination: prefix("0.0.0.0/0"), Target: "igw-1"}},
			"subnet-2": {
				{Destination: prefix("10.0.255.0/24"), Target: "eni-1"},
				{Destination: prefix("192.168.0.0/16"), Target: "pcx-1"},
				{Destination: prefix("0.0.0.0/0"), Target: "i-1"},
			},
		},
	}
}

func TestRuleset(t *testing.T) {
	golden(t, "ruleset.nft", []byte(ruleset(articleNetwork())))
	golden(t, "ruleset-empty.nft", []byte(ruleset(network{})))
}

func TestKernelRouting(t *testing.T) {
	routes, rules := kernelRouting(articleNetwork())
	if diff := cmp.Diff([]kernelRule{{"p-vpn", 1000}, {"p-step-2", 1001}}, rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	find := func(table int, destination string) kernelRoute {
		for _, r := range routes {
			if r.Table == table && r.Destination == prefix(destination) {
				return r
			}
		}
		return kernelRoute{}
	}
	for _, c := range []struct {
		table       int
		destination string
		hop         hop
		gateway     string
	}{
		{1000, "10.0.0.0/16", hopBlackhole, ""},
		{1000, "10.0.2.3/32", "p-step-2", ""},
		{1000, "10.0.2.64/28", "p-step-2", "10.0.2.2"},
		{1000, "0.0.0.0/0", hopInternet, ""},
		{1000, "10.0.255.0/24", "", ""},
		{1000, "169.254.169.254/32", hopService, ""},
		{1001, "10.0.255.0/24", "p-vpn", "10.0.1.2"},
		{1001, "192.168.0.0/16", hopBlackhole, ""},
		{1001, "0.0.0.0/0", "p-vpn", "10.0.1.2"},
		{mainTable, "10.0.1.2/32", "p-vpn", ""},
		{mainTable, "0.0.0.0/0", "", ""},
	} {
		got := find(c.table, c.destination)
		want := kernelRoute{Table: c.table, Destination: prefix(c.destination), Hop: c.hop}
		if c.hop == "" {
			want = kernelRoute{}
		}
		if c.gateway != "" {
			want.Gateway = addr(c.gateway)
		}
		if got != want {
			t.Errorf("route to %s in table %d is %+v, want %+v", c.destination, c.table, got, want)
		}
	}
}

// TestSnapshotNetwork reads EC2's own words.
func TestSnapshotNetwork(t *testing.T) {
	s := snapshot{
		vpcs: map[string][]netip.Prefix{"vpc-1": {prefix("10.0.0.0/16")}},
		instances: []types.Instance{{
			InstanceId: aws.String("i-1"), SourceDestCheck: aws.Bool(true),
			NetworkInterfaces: []types.InstanceNetworkInterface{{
				NetworkInterfaceId: aws.String("eni-1"), SubnetId: aws.String("subnet-1"), VpcId: aws.String("vpc-1"), SourceDestCheck: aws.Bool(true),
				Groups: []types.GroupIdentifier{{GroupId: aws.String("sg-1")}},
				PrivateIpAddresses: []types.InstancePrivateIpAddress{
					{PrivateIpAddress: aws.String("10.0.1.2"), Association: &types.InstanceNetworkInterfaceAssociation{PublicIp: aws.String("203.0.113.10")}},
					{PrivateIpAddress: aws.String("10.0.1.3")},
				},
				Ipv4Prefixes: []types.InstanceIpv4Prefix{{Ipv4Prefix: aws.String("10.0.1.64/28")}},
			}},
		}, {InstanceId: aws.String("i-without-machine"), NetworkInterfaces: []types.InstanceNetworkInterface{{}}}},
		groups: map[string]group{},
		tables: []types.RouteTable{
			{VpcId: aws.String("vpc-1"), Associations: []types.RouteTableAssociation{{Main: aws.Bool(true)}},
				Routes: []types.Route{{DestinationCidrBlock: aws.String("10.0.0.0/16"), GatewayId: aws.String("local")}}},
			{VpcId: aws.String("vpc-1"), Associations: []types.RouteTableAssociation{{SubnetId: aws.String("subnet-1")}},
				Routes: []types.Route{
					{DestinationCidrBlock: aws.String("10.0.0.0/16"), GatewayId: aws.String("local")},
					{DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: aws.String("igw-1")},
					{DestinationIpv6CidrBlock: aws.String("::/0"), GatewayId: aws.String("igw-1")},
					{DestinationCidrBlock: aws.String("10.9.0.0/16"), InstanceId: aws.String("i-1"), NetworkInterfaceId: aws.String("")},
				}},
		},
	}
	want := network{
		CIDRs: []netip.Prefix{prefix("10.0.0.0/16")}, Groups: map[string]group{},
		Ports: []port{{Name: "vpn", Interface: "eni-1", Instance: "i-1", Subnet: "subnet-1", Groups: []string{"sg-1"}, SourceCheck: true,
			Prefixes: []netip.Prefix{prefix("10.0.1.64/28")}, Addresses: []netip.Addr{addr("10.0.1.2"), addr("10.0.1.3")}, Public: map[netip.Addr]netip.Addr{addr("10.0.1.2"): addr("203.0.113.10")}}},
		Tables: map[string][]vpcRoute{"subnet-1": {{Destination: prefix("0.0.0.0/0"), Target: "igw-1"}, {Destination: prefix("10.9.0.0/16"), Target: "i-1"}}},
	}
	equal := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	equalPrefix := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(want, s.network(map[string]string{"i-1": "vpn"}), equal, equalPrefix); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
}

func articleMetadata() metadata {
	return metadata{
		Instance: "i-1", Image: "ami-1", Type: "t3.micro", Reservation: "r-1", Account: "123456789012", Zone: "ap-northeast-1a",
		Hostname: "ip-10-0-1-2.ap-northeast-1.compute.internal", MAC: "02:00:00:00:00:01", Interface: "eni-1", Subnet: "subnet-1", VPC: "vpc-1",
		SubnetCIDR: prefix("10.0.0.0/16"), VPCCIDRs: []netip.Prefix{prefix("10.0.0.0/16")}, Addresses: []netip.Addr{addr("10.0.1.2")},
		Public: addr("203.0.113.10"), GroupIDs: []string{"sg-1"}, GroupNames: []string{"vpn"}, KeyName: "lab", PublicKey: "ssh-ed25519 AAAA lab",
		Profile: "gateway", Role: "gateway", Keys: Keys{ID: "AKIALABLABLABLABLAB0", Secret: "lab", Token: "lab"}, UserData: []byte("#vpnami\nrole: vpn\n"), Launched: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), HopLimit: 1,
	}
}

func TestMockConfig(t *testing.T) {
	config, err := mockConfig(articleMetadata())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "metadata.json", append(config, '\n'))
	small := articleMetadata()
	small.Public, small.UserData, small.PublicKey, small.KeyName = netip.Addr{}, nil, "", ""
	if config, err = mockConfig(small); err != nil {
		t.Fatal(err)
	}
	golden(t, "metadata-private.json", append(config, '\n'))
}

func TestMetadataLookup(t *testing.T) {
	with, without := articleMetadata(), articleMetadata()
	with.Tags = map[string]string{"vpnami:role": "vpn"}
	with.Prefixes = []netip.Prefix{prefix("10.0.1.64/28"), prefix("10.0.1.80/28")}
	without.Public, without.UserData = netip.Addr{}, nil
	for _, c := range []struct {
		m    metadata
		path string
		want answer
	}{
		{with, "/latest/meta-data/instance-id", answer{Forward: "/latest/meta-data/instance-id", Found: true}},
		{with, "/2021-03-23/meta-data/instance-id", answer{Forward: "/latest/meta-data/instance-id", Found: true}},
		{with, "/latest/meta-data/public-ipv4", answer{Forward: "/latest/meta-data/public-ipv4", Found: true}},
		{without, "/latest/meta-data/public-ipv4", answer{}}, // the mock says "network/" here
		{with, "/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/ipv4-prefix", answer{Text: "10.0.1.64/28\n10.0.1.80/28", Found: true}},
		{without, "/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/ipv4-prefix", answer{}},
		{with, "/latest/user-data", answer{Forward: "/latest/user-data", Found: true}},
		{without, "/latest/user-data", answer{Forward: "/latest/user-data"}},
		{with, "/latest/meta-data/public-keys/", answer{Text: "0=lab", Found: true}},
		{with, "/latest/meta-data/iam/", answer{Text: "info\nsecurity-credentials/", Found: true}},
		{with, "/latest/meta-data/iam/security-credentials/", answer{Forward: "/latest/meta-data/iam/security-credentials", Found: true}},
		{with, "/latest/meta-data/network/interfaces/macs/", answer{Text: "02:00:00:00:00:01/", Found: true}},
		{with, "/latest/meta-data/tags/instance/", answer{Text: "vpnami:role", Found: true}},
		{with, "/latest/meta-data/tags/instance/vpnami:role", answer{Text: "vpn", Found: true}},
		{without, "/latest/meta-data/tags/instance/vpnami:role", answer{}},
		{without, "/latest/meta-data/tags/", answer{}},
		{with, "/latest/meta-data/local-ipv", answer{}},
		{with, "/latest/nothing", answer{}},
		{with, "/", answer{Text: "latest", Found: true}},
		{with, "/latest/", answer{Text: "dynamic\nmeta-data\nuser-data", Found: true}},
		{with, "/latest/dynamic/instance-identity/document", answer{Forward: "/latest/dynamic/instance-identity/document", Found: true}},
	} {
		if diff := cmp.Diff(c.want, c.m.lookup(c.path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.path, diff)
		}
	}
}

func FuzzMetadataLookup(f *testing.F) {
	for _, path := range []string{"/", "", "/latest/meta-data/", "//", "/latest//meta-data", "/x/dynamic/instance-identity/../../user-data"} {
		f.Add(path)
	}
	m := articleMetadata()
	f.Fuzz(func(t *testing.T, path string) {
		if a := m.lookup(path); a.Forward != "" && !strings.HasPrefix(a.Forward, "/latest/") {
			t.Errorf("%q is forwarded as %q", path, a.Forward)
		}
	})
}

func TestState(t *testing.T) {
	for _, c := range []struct{ name, text, wantErr string }{
		{"good", `{"schema":2,"options":{"name":"demo"}}`, ""},
		{"another version", `{"schema":3,"options":{"name":"demo"}}`, "schema 3, want 2"},
		{"torn", `{"schema":2,"opt`, "parsing state"},
		{"a name that reaches elsewhere", `{"schema":2,"options":{"name":"../x"}}`, `lab name "../x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseState([]byte(c.text))
			if (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"demo": true, "a1": true, "": false, "a-b": false, "Demo": false, "1a": false, "abcdefghijklm": false, "a/b": false} {
		if err := checkLabName(name); (err == nil) != ok {
			t.Errorf("lab name %q: %v", name, err)
		}
	}
	for name, ok := range map[string]bool{"vpn": true, "step-2": true, "vpc": false, "inet": false, "aws": false, "": false, "abcdefghijklmn": false, "a.b": false} {
		if err := checkStationName(name); (err == nil) != ok {
			t.Errorf("station name %q: %v", name, err)
		}
	}
	taken := map[string]bool{"vpn": true}
	for tagged, want := range map[string]string{"step": "step", "vpn": "vpn-cdef", "": "i-cdef", "Office Gateway #1": "office-gatew", "10.0.0.1": "i-cdef", "vpc": "vpc-cdef"} {
		got := stationFor(tagged, "i-0123456789abcdef", taken)
		if got != want || checkStationName(got) != nil {
			t.Errorf("an instance tagged %q is %q, want %q", tagged, got, want)
		}
	}
}

func FuzzStationFor(f *testing.F) {
	f.Add("vpn", "i-1")
	f.Add("-", "")
	f.Fuzz(func(t *testing.T, name, id string) {
		// EC2's own ids are hexadecimal.
		for _, c := range id {
			if !strings.ContainsRune("0123456789abcdef-", c) {
				t.Skip()
			}
		}
		if got := stationFor(name, id, map[string]bool{}); checkStationName(got) != nil {
			t.Errorf("%q, %q gives %q", name, id, got)
		}
	})
}

func TestHosts(t *testing.T) {
	for _, c := range []struct {
		name    string
		hosts   []HostSpec
		wantErr string
	}{
		{"the default", defaultHosts(), ""},
		{"outside", []HostSpec{{"a", addr("10.0.0.1")}}, "want one of 198.51.100.0/24"},
		{"the router's", []HostSpec{{"a", addr("198.51.100.1")}}, "not the router's"},
		{"the same address", []HostSpec{{"a", addr("198.51.100.9")}, {"b", addr("198.51.100.9")}}, "taken by host a"},
		{"the same name", []HostSpec{{"a", addr("198.51.100.9")}, {"a", addr("198.51.100.8")}}, "taken by host a"},
		{"a part of the lab", []HostSpec{{"vpc", addr("198.51.100.9")}}, "part of the lab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := checkHosts(c.hosts)
			if (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error is %v, want %q", err, c.wantErr)
			}
		})
	}
}

func TestActionOf(t *testing.T) {
	request := func(contentType, target, scope, url string) *http.Request {
		r, err := http.NewRequest(http.MethodPost, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("X-Amz-Target", target)
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20261123/ap-northeast-1/"+scope+"/aws4_request, SignedHeaders=host, Signature=0")
		return r
	}
	const form = "application/x-www-form-urlencoded; charset=utf-8"
	for _, c := range []struct {
		r       *http.Request
		body    string
		want    string
		changes bool
	}{
		{request(form, "", "ec2", "http://x/"), "Action=RunInstances&Version=2016-11-15", "ec2:RunInstances", true},
		{request(form, "", "ec2", "http://x/"), "Action=DescribeInstances", "ec2:DescribeInstances", false},
		{request("application/x-amz-json-1.1", "secretsmanager.GetSecretValue", "secretsmanager", "http://x/"), "{}", "secretsmanager:GetSecretValue", false},
		{request("", "", "s3", "http://x/bucket/key"), "", "s3:POST /bucket/key", false},
		{request(form, "", "autoscaling", "http://x/"), "Action=SetDesiredCapacity", "autoscaling:SetDesiredCapacity", true},
	} {
		got := actionOf(c.r, []byte(c.body))
		if got != c.want || changes(got) != c.changes {
			t.Errorf("action is %q (changes: %v), want %q (%v)", got, changes(got), c.want, c.changes)
		}
	}
}

func TestBootedInit(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tsystemd\nNSpid:\t4711\t1\n":    true,
		"Name:\tsystemd\nNSpid:\t9\t4711\t1\n": true,
		"Name:\tsystemd\nNSpid:\t1\n":          false, // the host's own
		"Name:\tsystemd\nNSpid:\t4711\t12\n":   false,
		"Name:\t(sd-child)\nNSpid:\t4711\t1\n": false,
		"":                                     false,
	} {
		if got := isBootedInit(status); got != want {
			t.Errorf("%q: %v, want %v", status, got, want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	if got, want := shellQuote("it's $HOME"), `'it'\''s $HOME'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCgroupRoots(t *testing.T) {
	const hybrid = `29 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
30 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 29 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
32 29 0:29 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw
`
	const unified = "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	for text, want := range map[string][]string{
		hybrid: {"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"}, unified: {"/sys/fs/cgroup"}, "": {}, "a - b": {},
	} {
		if diff := cmp.Diff(want, parseCgroupRoots(text)); diff != "" {
			t.Errorf("roots of %q (-want +got):\n%s", text, diff)
		}
	}
}
