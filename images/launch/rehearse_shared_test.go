// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// sharedGroup gives the gateway one more group, which is not the launch's: others have
// it too, and their SSH is none of the gateway's business. It says so, loudly, and
// takes nothing away.
func (r *rehearsal) sharedGroup(t *testing.T) {
	vpn, err := r.Instance(t.Context(), "vpn")
	fatal(t, err)
	client := ec2.NewFromConfig(r.AWS())
	described, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{vpn.ID()}})
	fatal(t, err)
	nic := described.Reservations[0].Instances[0].NetworkInterfaces[0]
	var own []string
	for _, g := range nic.Groups {
		own = append(own, aws.ToString(g.GroupId))
	}
	made, err := client.CreateSecurityGroup(t.Context(), &ec2.CreateSecurityGroupInput{GroupName: aws.String("shared"), Description: aws.String("of others too"), VpcId: nic.VpcId})
	fatal(t, err)
	opened, err := client.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: made.GroupId, IpPermissions: []types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("198.51.100.0/24")}},
	}}})
	fatal(t, err)
	rule := aws.ToString(opened.SecurityGroupRules[0].SecurityGroupRuleId)
	have := func(groups ...string) {
		_, err := client.ModifyNetworkInterfaceAttribute(t.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: nic.NetworkInterfaceId, Groups: groups})
		fatal(t, err)
	}
	have(append(slices.Clone(own), aws.ToString(made.GroupId))...)
	result := r.bootAgain(t, vpn)
	var said struct {
		SSH struct {
			Revoked []string
			Left    []struct{ Rule, Why string }
		}
	}
	fatal(t, json.Unmarshal(result.Raw, &said))
	if result.State != "ready" || len(said.SSH.Revoked) > 0 || len(said.SSH.Left) != 1 || said.SSH.Left[0].Rule != rule || !strings.Contains(said.SSH.Left[0].Why, "vpnami:consent") {
		t.Errorf("with a group of others it is %s, and says of SSH %+v", result.State, said.SSH)
	} else {
		t.Logf("%s is left: %s", rule, said.SSH.Left[0].Why)
	}
	rules, err := client.DescribeSecurityGroupRules(within(t, 30*time.Second), &ec2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: []string{rule}})
	if err != nil || len(rules.SecurityGroupRules) != 1 {
		t.Errorf("the rule of others is gone: %v", err)
	}
	have(own...)
	if result := r.bootAgain(t, vpn); result.State != "ready" {
		t.Errorf("without it again it is %s: %s", result.State, result.Cause)
	}
	_, err = client.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: made.GroupId})
	fatal(t, err)
}
