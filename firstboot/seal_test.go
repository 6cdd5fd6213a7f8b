// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

func rule(id, protocol string, from, to int32, source string) Rule {
	r := Rule{ID: id, Group: "sg-yes", Protocol: protocol, From: from, To: to}
	switch {
	case strings.HasPrefix(source, "pl-"):
		r.Source.PrefixList = source
	case strings.HasPrefix(source, "sg-"):
		r.Source.Group = source
	case source != "":
		r.Source.Network = prefix(source)
	}
	return r
}

func TestPlanSeal(t *testing.T) {
	in := func(r Rule, group string) Rule { r.Group = group; return r }
	for name, c := range map[string]struct {
		rule            Rule
		revoked, stated bool
	}{
		"the world":           {rule("r", "tcp", 22, 22, "0.0.0.0/0"), true, false},
		"the world over IPv6": {rule("r", "tcp", 22, 22, "::/0"), true, false},
		"an office":           {rule("r", "tcp", 22, 22, "198.51.100.7/32"), true, false},
		"a prefix list":       {rule("r", "tcp", 22, 22, "pl-1"), true, false},
		"more than the VPC":   {rule("r", "tcp", 22, 22, "10.0.0.0/8"), true, false},
		"no consent":          {in(rule("r", "tcp", 22, 22, "0.0.0.0/0"), "sg-no"), false, true},
		"another's group":     {in(rule("r", "tcp", 22, 22, "0.0.0.0/0"), "sg-else"), false, false},
		"the VPC":             {rule("r", "tcp", 22, 22, "10.0.0.0/16"), false, false},
		"a host of the VPC":   {rule("r", "tcp", 22, 22, "10.0.3.4/32"), false, false},
		"the VPC over IPv6":   {rule("r", "tcp", 22, 22, "2001:db8:1::/56"), false, false},
		"another VPC":         {rule("r", "tcp", 22, 22, "10.9.0.0/16"), true, false},
		"a group":             {rule("r", "tcp", 22, 22, "sg-other"), false, false},
		"a range":             {rule("r", "tcp", 20, 30, "0.0.0.0/0"), false, true},
		"all of TCP":          {rule("r", "tcp", 0, 65535, "0.0.0.0/0"), false, true},
		"all traffic":         {rule("r", "all", 0, 65535, "::/0"), false, true},
		"all from the VPC":    {rule("r", "all", 0, 65535, "10.0.0.0/16"), false, false},
		"the daemon":          {rule("r", "udp", 1194, 1194, "0.0.0.0/0"), false, false},
		"UDP 22":              {rule("r", "udp", 22, 22, "0.0.0.0/0"), false, false},
		"the daemon over TCP": {rule("r", "tcp", 1194, 1194, "0.0.0.0/0"), false, false},
		"ping":                {rule("r", "icmp", 8, 65535, "0.0.0.0/0"), false, false},
		"nobody known":        {rule("r", "tcp", 22, 22, ""), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := planSeal(Gate{Consent: map[string]bool{"sg-yes": true, "sg-no": false}, Rules: []Rule{c.rule}},
				[]netip.Prefix{prefix("10.0.0.0/16"), prefix("2001:db8:1::/56")})
			if got := len(p.Revoke) == 1; got != c.revoked {
				t.Errorf("revoked %v, want %v", got, c.revoked)
			}
			if got := len(p.Left) == 1; got != c.stated {
				t.Errorf("stated as left %v, want %v", got, c.stated)
			}
		})
	}
}

// TestPlanSealProperty: over random rules, nothing is revoked but TCP 22, from
// outside the VPC, on a group with consent; and every other way for SSH from
// outside is stated.
func TestPlanSealProperty(t *testing.T) {
	vpc := []netip.Prefix{prefix("10.0.0.0/16")}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	revoked, left := 0, 0
	for range 20_000 {
		var g Gate
		g.Consent = map[string]bool{"sg-1": true, "sg-2": false}
		for n := range random.IntN(6) {
			from := []int32{0, 21, 22, 23, 1194}[random.IntN(5)]
			r := rule(fmt.Sprintf("r%d", n), pick("tcp", "udp", "all", "icmp", "50"), from, from+[]int32{0, 0, 1, 5000}[random.IntN(4)],
				pick("0.0.0.0/0", "::/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.0.0/15", "pl-1", "sg-1", ""))
			r.Group = pick("sg-1", "sg-2", "sg-unknown")
			g.Rules = append(g.Rules, r)
		}
		p := planSeal(g, vpc)
		for _, r := range p.Revoke {
			revoked++
			if r.Protocol != "tcp" || r.From != 22 || r.To != 22 || !g.Consent[r.Group] || r.Source.Group != "" || partOf(r.Source.Network, vpc) {
				t.Fatalf("revokes %+v", r)
			}
		}
		for _, r := range g.Rules {
			open := (r.Protocol == "tcp" || r.Protocol == "all") && r.From <= 22 && 22 <= r.To && r.Source.Group == "" && !partOf(r.Source.Network, vpc) && r.Group != "sg-unknown"
			told := slices.Contains(p.Revoke, r) || slices.ContainsFunc(p.Left, func(l Left) bool { return l.Rule == r.ID })
			if open != told {
				t.Fatalf("open %v, told %v: %+v", open, told, r)
			}
		}
		left += len(p.Left)
	}
	if revoked == 0 || left == 0 {
		t.Errorf("the property was not tried: %d revoked, %d left", revoked, left)
	}
}

func TestSeal(t *testing.T) {
	c := newCloud(t)
	c.rules = append(c.rules,
		Rule{ID: "sgr-0vpc", Group: "sg-0aaa", Protocol: "tcp", From: 22, To: 22, Source: Source{Network: prefix("10.0.0.0/16")}},
		Rule{ID: "sgr-0six", Group: "sg-0aaa", Protocol: "tcp", From: 22, To: 22, Source: Source{Network: prefix("::/0")}},
		Rule{ID: "sgr-0all", Group: "sg-0aaa", Protocol: "all", From: -1, To: -1, Source: Source{Network: prefix("198.51.100.0/24")}},
	)
	service := newServices(newMetadata(c.at("imds"), c.dial), "ap-northeast-1", c.at("aws"), c.dial).ingress
	run := func() sealPlan {
		gate, err := readGate(t.Context(), service, []string{"sg-0aaa"})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := seal(t.Context(), service, articleInstance(), gate, func(Rule) {})
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	first := run()
	if len(first.Revoke) != 2 || len(first.Left) != 1 || first.Left[0].Rule != "sgr-0all" {
		t.Errorf("got %+v", first)
	}
	var left []string
	for _, r := range c.rules {
		left = append(left, r.ID)
	}
	if diff := cmp.Diff([]string{"sgr-0udp", "sgr-0vpc", "sgr-0all"}, left); diff != "" {
		t.Error(diff)
	}
	if again := run(); len(again.Revoke) != 0 || len(again.Left) != 1 {
		t.Errorf("not idempotent: %+v", again)
	}
	if n := c.asked("ec2 RevokeSecurityGroupIngress"); n != 1 {
		t.Errorf("revoked %d times", n)
	}
}

func TestSealFails(t *testing.T) {
	for name, c := range map[string]struct {
		action        string
		fault         http.HandlerFunc
		words, advice string
	}{
		"groups denied": {"DescribeSecurityGroups", denied, "UnauthorizedOperation", "ec2:DescribeSecurityGroups"},
		"rules denied":  {"DescribeSecurityGroupRules", denied, "UnauthorizedOperation", "ec2:DescribeSecurityGroupRules"},
		"revoke denied": {"RevokeSecurityGroupIngress", denied, "\"sgr-0ssh\"", "ec2:RevokeSecurityGroupIngress"},
		"revoke does nothing": {"RevokeSecurityGroupIngress", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, "<RevokeSecurityGroupIngressResponse><return>true</return></RevokeSecurityGroupIngressResponse>")
		}, "SSH is still let in by sgr-0ssh", "by itself"},
		"unknown": {"RevokeSecurityGroupIngress", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, "<RevokeSecurityGroupIngressResponse><return>true</return><unknownIpPermissionSet><item><ipProtocol>tcp</ipProtocol></item></unknownIpPermissionSet></RevokeSecurityGroupIngressResponse>")
		}, "does not know", "by itself"},
		"ec2 away": {"ec2", status(500), "HTTP status 500", "a way to EC2"},
	} {
		t.Run(name, func(t *testing.T) {
			stand := newCloud(t)
			stand.spoil(c.action, c.fault)
			service := newServices(newMetadata(stand.at("imds"), stand.dial), "ap-northeast-1", stand.at("aws"), stand.dial).ingress
			gate, err := readGate(t.Context(), service, []string{"sg-0aaa"})
			if err == nil {
				_, err = seal(t.Context(), service, articleInstance(), gate, func(Rule) {})
			}
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("got %v, want words %q", err, c.words)
			}
			if state, advice := verdict(err); state != Waiting || !strings.Contains(advice, c.advice) {
				t.Errorf("state %s, advice %q", state, advice)
			}
		})
	}
}

func TestAdmits(t *testing.T) {
	for name, c := range map[string]struct {
		rules []Rule
		lines []string
		ok    bool
		doubt bool
	}{
		"article":        {[]Rule{rule("r", "udp", 1194, 1194, "0.0.0.0/0")}, nil, true, false},
		"a range":        {[]Rule{rule("r", "udp", 1000, 2000, "198.51.100.0/24")}, nil, true, false},
		"IPv6 alone":     {[]Rule{rule("r", "udp", 1194, 1194, "::/0")}, nil, false, false},
		"nobody known":   {[]Rule{rule("r", "udp", 1194, 1194, "")}, nil, false, false},
		"a prefix list":  {[]Rule{rule("r", "udp", 1194, 1194, "pl-1")}, nil, true, false},
		"a group":        {[]Rule{rule("r", "udp", 1194, 1194, "sg-1")}, nil, true, true},
		"the VPC":        {[]Rule{rule("r", "udp", 1194, 1194, "10.0.9.9/32")}, nil, true, true},
		"the VPC and v6": {[]Rule{rule("r", "udp", 1194, 1194, "10.0.9.9/32"), rule("s", "udp", 1194, 1194, "::/0")}, nil, true, true},
		"all":            {[]Rule{rule("r", "all", 0, 65535, "0.0.0.0/0")}, nil, true, false},
		"nothing":        {nil, nil, false, false},
		"another port":   {[]Rule{rule("r", "udp", 1195, 1195, "0.0.0.0/0")}, nil, false, false},
		"TCP":            {[]Rule{rule("r", "tcp", 1194, 1194, "0.0.0.0/0")}, nil, false, false},
		"TCP asked for":  {[]Rule{rule("r", "tcp", 1194, 1194, "0.0.0.0/0")}, []string{"proto: tcp"}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			config := articleConfig(t, c.lines...)
			doubt, err := Gate{Rules: c.rules}.admits(config.Proto, config.Port, articleInstance().VPC)
			if (err == nil) != c.ok || (doubt != "") != c.doubt {
				t.Errorf("got %q, %v", doubt, err)
			}
		})
	}
}

func TestParseRule(t *testing.T) {
	described := types.SecurityGroupRule{
		SecurityGroupRuleId: aws.String("sgr-1"), GroupId: aws.String("sg-1"), IpProtocol: aws.String("6"),
		FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIpv4: aws.String("0.0.0.0/0"),
	}
	got, err := parseRule(described)
	if err != nil || got.String() != "sgr-1 of sg-1 (tcp 22 from 0.0.0.0/0)" {
		t.Errorf("got %v, %v", got, err)
	}
	described.IpProtocol, described.FromPort, described.ToPort = aws.String("-1"), aws.Int32(-1), aws.Int32(-1)
	if got, err = parseRule(described); err != nil || !got.covers("udp", 1194) || !got.covers("tcp", 22) {
		t.Errorf("got %v, %v", got, err)
	}
	described.CidrIpv4 = aws.String("everywhere")
	if _, err = parseRule(described); err == nil {
		t.Error("accepts a source that is no network")
	}
	if _, err = parseRule(types.SecurityGroupRule{}); err == nil {
		t.Error("accepts a rule without an id")
	}
}

func FuzzParseRule(f *testing.F) {
	f.Add("sgr-1", "sg-1", "tcp", int32(22), int32(22), "0.0.0.0/0", "", "")
	f.Add("sgr-1", "sg-1", "-1", int32(-1), int32(-1), "", "::/0", "")
	f.Add("sgr-1", "sg-1", "17", int32(1194), int32(1194), "", "", "pl-1")
	f.Fuzz(func(t *testing.T, id, group, protocol string, from, to int32, v4, v6, list string) {
		r, err := parseRule(types.SecurityGroupRule{
			SecurityGroupRuleId: &id, GroupId: &group, IpProtocol: &protocol, FromPort: &from, ToPort: &to,
			CidrIpv4: &v4, CidrIpv6: &v6, PrefixListId: &list,
		})
		if err != nil {
			return
		}
		p := planSeal(Gate{Consent: map[string]bool{group: true}, Rules: []Rule{r}}, []netip.Prefix{prefix("10.0.0.0/16")})
		if len(p.Revoke) > 0 && (from != 22 || to != 22 || protocol != "tcp" && protocol != "6") {
			t.Errorf("revokes %q %d-%d", protocol, from, to)
		}
	})
}
