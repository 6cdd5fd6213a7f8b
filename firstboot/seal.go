// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

const sshPort = 22

// Left is a rule through which SSH stays open from outside the VPC, and why it
// was not revoked.
type Left struct {
	Rule  string `json:"rule"`
	Group string `json:"group"`
	What  string `json:"what"`
	Why   string `json:"why"`
}

// sealPlan is what closing the gate for SSH takes.
type sealPlan struct {
	Revoke []Rule
	Left   []Left
}

// planSeal decides rule by rule. It is pure, and the only place that decides
// what is revoked: a rule for TCP port 22 and nothing else, that lets in
// somebody outside the VPC, on a group that carries the launch's consent.
// The gate has a word on consent for the instance's own groups alone: the rules
// of others are none of its business.
func planSeal(g Gate, vpc []netip.Prefix) sealPlan {
	var p sealPlan
	leave := func(r Rule, why string) {
		p.Left = append(p.Left, Left{Rule: r.ID, Group: r.Group, What: r.String(), Why: why})
	}
	for _, rule := range g.Rules {
		consent, ours := g.Consent[rule.Group]
		switch {
		case !ours:
		case !rule.covers("tcp", sshPort):
		case rule.Source.Group != "":
			// Members of a group are interfaces of the VPC (or of a peer).
		case partOf(rule.Source.Network, vpc):
		case rule.Protocol != "tcp" || rule.From != sshPort || rule.To != sshPort:
			leave(rule, "it lets in more than SSH, and narrowing it would take the right to open")
		case !rule.Source.Network.IsValid() && rule.Source.PrefixList == "":
			leave(rule, "it is not known whom it lets in")
		case !consent:
			leave(rule, fmt.Sprintf("its group does not carry the tag %s=%s", consentKey, consentValue))
		default:
			p.Revoke = append(p.Revoke, rule)
		}
	}
	return p
}

// partOf tells whether a network lies in one of the blocks.
func partOf(network netip.Prefix, blocks []netip.Prefix) bool {
	return network.IsValid() && slices.ContainsFunc(blocks, func(block netip.Prefix) bool {
		return block.Bits() <= network.Bits() && block.Contains(network.Addr())
	})
}

// revoke waits for an answer as long as every question does.
func revoke(ctx context.Context, service ingress, group string, ids ...string) (*ec2.RevokeSecurityGroupIngressOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return service.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: aws.String(group), SecurityGroupRuleIds: ids})
}

// gone tells whether EC2 does not know a rule any more.
func gone(err error) bool { return err != nil && strings.Contains(explain(err).Error(), ".NotFound") }

// seal revokes what the plan says and reads back that it is gone. Each rule is
// told at once when EC2 has said that it is revoked: nobody finds it out later.
func seal(ctx context.Context, service ingress, instance Instance, gate Gate, tell func(Rule)) (sealPlan, error) {
	vpc := slices.Concat(instance.VPC, instance.VPC6)
	plan := planSeal(gate, vpc)
	if len(plan.Revoke) == 0 {
		return plan, nil
	}
	byGroup := map[string][]Rule{}
	for _, rule := range plan.Revoke {
		byGroup[rule.Group] = append(byGroup[rule.Group], rule)
	}
	for _, group := range slices.Sorted(maps.Keys(byGroup)) {
		var ids []string
		for _, rule := range byGroup[group] {
			ids = append(ids, rule.ID)
		}
		output, err := revoke(ctx, service, group, ids...)
		// Somebody else may have closed one in between, and EC2 revokes none of
		// several then: each by itself. The reading back tells.
		if gone(err) && len(ids) > 1 {
			err = nil
			for _, rule := range byGroup[group] {
				_, alone := revoke(ctx, service, group, rule.ID)
				if alone == nil {
					tell(rule)
				} else if !gone(alone) {
					err = errors.Join(err, alone)
				}
			}
			if err == nil {
				continue
			}
		}
		if gone(err) {
			continue
		}
		if err != nil {
			return plan, waitingFor(fmt.Errorf("revoking the SSH ingress %s of security group %q: %w", quoted(ids), group, explain(err)),
				"allow the instance's role ec2:RevokeSecurityGroupIngress on groups with the tag %s=%s; it is tried again by itself", consentKey, consentValue)
		}
		if len(output.UnknownIpPermissions) > 0 {
			return plan, waitingFor(fmt.Errorf("revoking the SSH ingress %s of security group %q: EC2 does not know %d of them", quoted(ids), group, len(output.UnknownIpPermissions)), "it is tried again by itself")
		}
		for _, rule := range byGroup[group] {
			tell(rule)
		}
	}
	after, err := readRules(ctx, service, instance.everyGroup())
	if err != nil {
		return plan, err
	}
	if again := planSeal(Gate{Consent: gate.Consent, Rules: after}, vpc); len(again.Revoke) > 0 {
		return plan, waitingFor(fmt.Errorf("reading back the security groups: SSH is still let in by %s", again.Revoke[0]), "EC2 may need a moment; it is tried again by itself")
	}
	return plan, nil
}
