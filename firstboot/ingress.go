// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// ingress is what is needed of *ec2.Client to look at the security groups and
// to close in them. There is no method here that opens anything.
type ingress interface {
	DescribeSecurityGroups(context.Context, *ec2.DescribeSecurityGroupsInput, ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error)
	DescribeSecurityGroupRules(context.Context, *ec2.DescribeSecurityGroupRulesInput, ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupRulesOutput, error)
	RevokeSecurityGroupIngress(context.Context, *ec2.RevokeSecurityGroupIngressInput, ...func(*ec2.Options)) (*ec2.RevokeSecurityGroupIngressOutput, error)
}

// The tag by which a launch allows that a group's SSH ingress is revoked.
const (
	consentKey   = "vpnami:consent"
	consentValue = "seal-ssh"
)

// Rule is one ingress rule of a security group.
type Rule struct {
	ID       string
	Group    string
	Protocol string // "tcp", "udp", "all", or as EC2 calls it
	From, To int32  // both 0 to 65535 where the protocol has ports
	Source   Source
}

// Source is whom a rule lets in: exactly one of the fields is set.
type Source struct {
	Network    netip.Prefix
	PrefixList string
	Group      string
}

func (s Source) String() string {
	switch {
	case s.Network.IsValid():
		return s.Network.String()
	case s.PrefixList != "":
		return "prefix list " + s.PrefixList
	case s.Group != "":
		return "group " + s.Group
	default:
		return "an unknown source"
	}
}

// covers tells whether a rule lets traffic to a port in.
func (r Rule) covers(protocol string, port uint16) bool {
	return (r.Protocol == protocol || r.Protocol == "all") && r.From <= int32(port) && int32(port) <= r.To
}

func (r Rule) String() string {
	ports := fmt.Sprintf("%d-%d", r.From, r.To)
	switch {
	case r.Protocol == "all":
		ports = "all traffic"
	case r.From == r.To:
		ports = fmt.Sprintf("%s %d", r.Protocol, r.From)
	default:
		ports = r.Protocol + " " + ports
	}
	return fmt.Sprintf("%s of %s (%s from %s)", r.ID, r.Group, ports, r.Source)
}

// Gate is the ingress of all of the instance's groups as EC2 says it is.
type Gate struct {
	Consent map[string]bool // group id: may be sealed
	Rules   []Rule
}

// of is the gate of some of the groups.
func (g Gate) of(groups []string) Gate {
	return Gate{g.Consent, slices.DeleteFunc(slices.Clone(g.Rules), func(r Rule) bool { return !slices.Contains(groups, r.Group) })}
}

const (
	groupsAdvice = "allow the instance's role ec2:DescribeSecurityGroups, and give the instance a way to EC2; it is tried again by itself"
	rulesAdvice  = "allow the instance's role ec2:DescribeSecurityGroupRules, and give the instance a way to EC2; it is tried again by itself"
)

// readGate asks EC2 for the groups and their ingress rules.
func readGate(ctx context.Context, service ingress, groups []string) (Gate, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var gate Gate
	err := together(atOnce,
		func() (err error) { gate.Consent, err = readConsent(ctx, service, groups); return err },
		func() (err error) { gate.Rules, err = readRules(ctx, service, groups); return err },
	)
	return gate, err
}

// readConsent tells of each group whether the launch allows that it is sealed.
func readConsent(ctx context.Context, service ingress, groups []string) (map[string]bool, error) {
	described, err := service.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: groups})
	if err != nil {
		return nil, waitingFor(fmt.Errorf("describing the security groups %s: %w", quoted(groups), explain(err)), groupsAdvice)
	}
	consent := map[string]bool{}
	for _, group := range described.SecurityGroups {
		if !slices.Contains(groups, aws.ToString(group.GroupId)) {
			continue
		}
		consent[aws.ToString(group.GroupId)] = slices.ContainsFunc(group.Tags, func(t types.Tag) bool {
			return aws.ToString(t.Key) == consentKey && aws.ToString(t.Value) == consentValue
		})
	}
	for _, id := range groups {
		if _, ok := consent[id]; !ok {
			return nil, waitingFor(fmt.Errorf("describing the security groups %s: EC2 does not tell of %q", quoted(groups), id), groupsAdvice)
		}
	}
	return consent, nil
}

func readRules(ctx context.Context, service ingress, groups []string) ([]Rule, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(service, &ec2.DescribeSecurityGroupRulesInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: groups}},
	})
	var rules []Rule
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, waitingFor(fmt.Errorf("describing the rules of the security groups %s: %w", quoted(groups), explain(err)), rulesAdvice)
		}
		for _, described := range page.SecurityGroupRules {
			if aws.ToBool(described.IsEgress) {
				continue
			}
			rule, err := parseRule(described)
			if err != nil {
				return nil, waitingFor(fmt.Errorf("describing the rules of the security groups %s: %w", quoted(groups), err), rulesAdvice)
			}
			rules = append(rules, rule)
		}
	}
	sort.Slice(rules, func(a, b int) bool { return rules[a].ID < rules[b].ID })
	return rules, nil
}

func parseRule(described types.SecurityGroupRule) (Rule, error) {
	r := Rule{
		ID:       aws.ToString(described.SecurityGroupRuleId),
		Group:    aws.ToString(described.GroupId),
		Protocol: aws.ToString(described.IpProtocol),
		To:       65535,
	}
	if r.ID == "" || r.Group == "" {
		return Rule{}, errors.New("EC2 tells of a rule without an id or a group")
	}
	switch r.Protocol {
	case "-1":
		r.Protocol = "all"
	case "6":
		r.Protocol = "tcp"
	case "17":
		r.Protocol = "udp"
	}
	// For "all", and for every port of one protocol, EC2 says -1 or nothing.
	if from := aws.ToInt32(described.FromPort); described.FromPort != nil && from >= 0 && r.Protocol != "all" {
		r.From = from
	}
	if to := aws.ToInt32(described.ToPort); described.ToPort != nil && to >= 0 && r.Protocol != "all" {
		r.To = to
	}
	for _, text := range []*string{described.CidrIpv4, described.CidrIpv6} {
		if text == nil || *text == "" {
			continue
		}
		network, err := netip.ParsePrefix(*text)
		if err != nil {
			return Rule{}, fmt.Errorf("rule %q lets in %q, which is no network", r.ID, *text)
		}
		r.Source.Network = network
	}
	r.Source.PrefixList = aws.ToString(described.PrefixListId)
	if described.ReferencedGroupInfo != nil {
		r.Source.Group = aws.ToString(described.ReferencedGroupInfo.GroupId)
	}
	return r, nil
}

// admits refuses a gate through which nobody reaches the daemon: it is not
// closed for SSH then, since SSH would be the only way in. The daemon serves
// IPv4 alone. The doubt is about a gate that lets nobody in from outside.
func (g Gate) admits(proto string, port uint16, vpc []netip.Prefix) (doubt string, err error) {
	any4 := false
	for _, rule := range g.Rules {
		network := rule.Source.Network
		if !rule.covers(proto, port) || network.IsValid() && !network.Addr().Is4() || rule.Source == (Source{}) {
			continue
		}
		any4 = true
		if rule.Source.PrefixList != "" || network.IsValid() && !partOf(network, vpc) {
			return "", nil
		}
	}
	if any4 {
		return fmt.Sprintf("%s/%d is admitted from inside the VPC alone: nobody reaches the tunnel from outside", proto, port), nil
	}
	return "", waitingFor(fmt.Errorf("looking for ingress to %s/%d: none of the security groups lets anybody in over IPv4", proto, port),
		"admit %s/%d from an IPv4 network in a security group of the instance; until then SSH is left as it is", proto, port)
}
