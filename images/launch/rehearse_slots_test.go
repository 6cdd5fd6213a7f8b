// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

const healthPort = 1195

// several launches two gateways behind a load balancer, which is a record of moto's:
// what it would ask each gateway, the bastion asks.
func (r *rehearsal) several(t *testing.T) {
	const example = "examples/several-gateways"
	r.Init(t, example)
	vars := map[string]string{"ami": r.vars["ami"], "key_name": r.vars["key_name"], "secret_recovery_days": "0"}
	r.Apply(t, example, vars)
	r.Empty(t, example, vars)
	r.publisher.env = nil // its policy went with the first launch
	r.publish(t)
	step, err := r.Instance(within(t, 30*time.Second), "office-step")
	fatal(t, err)
	shut := r.letIn(t, "office-gateway", "office-step")
	for _, name := range []string{"office-a", "office-b"} {
		i, err := r.Instance(within(t, 30*time.Second), name)
		fatal(t, err)
		// It came up before its secret did, and asks at longer and longer intervals.
		_, err = i.WaitReady(within(t, 2*time.Minute))
		fatal(t, err)
		healthy(t, step, i, true)
		_, err = i.Exec(within(t, 30*time.Second), "systemctl", "stop", "openvpn-server@vpn.service")
		fatal(t, err)
		healthy(t, step, i, false)
		_, err = i.Exec(within(t, 30*time.Second), "systemctl", "start", "openvpn-server@vpn.service")
		fatal(t, err)
		healthy(t, step, i, true)
		t.Logf("%s at %s answers at TCP %d while its daemon runs, and not while it does not", name, i.PrivateAddress(), healthPort)
	}
	shut()
	r.Destroy(t, example, vars)
}

// letIn opens the health port of one group for another, by their names, until it is
// shut again.
func (r *rehearsal) letIn(t *testing.T, to, from string) (shut func()) {
	t.Helper()
	client := ec2.NewFromConfig(r.AWS())
	id := func(name string) *string {
		out, err := client.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{{Name: aws.String("group-name"), Values: []string{name}}}})
		fatal(t, err)
		if len(out.SecurityGroups) != 1 {
			t.Fatalf("%d groups are named %q", len(out.SecurityGroups), name)
		}
		return out.SecurityGroups[0].GroupId
	}
	group := id(to)
	rule := []types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(healthPort), ToPort: aws.Int32(healthPort), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: id(from)}},
	}}
	_, err := client.AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group, IpPermissions: rule})
	fatal(t, err)
	return func() {
		_, err := client.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{GroupId: group, IpPermissions: rule})
		fatal(t, err)
	}
}

// healthy waits until a gateway's health port answers, or does not.
func healthy(t *testing.T, from, gateway *lab.Instance, want bool) {
	t.Helper()
	ask := fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", gateway.PrivateAddress(), healthPort)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := from.Exec(ctx, "timeout", "1", "bash", "-c", ask)
		cancel()
		if (err == nil) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("TCP %d of %s answers: %v (%v), want %v", healthPort, gateway.Name(), err == nil, err, want)
		}
	}
}
