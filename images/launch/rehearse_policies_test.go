// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"encoding/json"
	"errors"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
)

func (r *rehearsal) makePublisher(t *testing.T, policy string) publisher {
	t.Helper()
	client, name := iam.NewFromConfig(r.AWS()), aws.String("publisher")
	_, err := client.CreateUser(t.Context(), &iam.CreateUserInput{UserName: name})
	fatal(t, err)
	_, err = client.AttachUserPolicy(t.Context(), &iam.AttachUserPolicyInput{UserName: name, PolicyArn: &policy})
	fatal(t, err)
	return publisher{policy: policy, env: mototest.Key(t, client, *name).Environment()}
}

// plain undoes the encoding in which IAM gives a policy.
func plain(t *testing.T, policy string) string {
	t.Helper()
	text, err := url.QueryUnescape(policy)
	fatal(t, err)
	return text
}

// publisherPolicy takes each action away from the desk's policy in turn. The
// secrets exist without a value, as Terraform has made them.
func (r *rehearsal) publisherPolicy(t *testing.T) {
	for _, args := range [][]string{
		{"init", "office", "--server-name", "vpn.example.com"},
		{"issue", "client1", "client2", "--out", r.Dir(), "--remote", r.remote},
	} {
		_, err := r.runPKI(t, args...)
		fatal(t, err)
	}
	client := iam.NewFromConfig(r.AWS())
	set := func(policy string) {
		t.Helper()
		versions, err := client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: &r.publisher.policy})
		fatal(t, err)
		for _, v := range versions.Versions { // AWS keeps five
			if !v.IsDefaultVersion && aws.ToString(v.VersionId) != "v1" {
				_, err := client.DeletePolicyVersion(t.Context(), &iam.DeletePolicyVersionInput{PolicyArn: &r.publisher.policy, VersionId: v.VersionId})
				fatal(t, err)
			}
		}
		_, err = client.CreatePolicyVersion(t.Context(), &iam.CreatePolicyVersionInput{PolicyArn: &r.publisher.policy, PolicyDocument: &policy, SetAsDefault: true})
		fatal(t, err)
	}
	whole, err := client.GetPolicyVersion(t.Context(), &iam.GetPolicyVersionInput{PolicyArn: &r.publisher.policy, VersionId: aws.String("v1")})
	fatal(t, err)
	policy := plain(t, aws.ToString(whole.PolicyVersion.Document))
	for action, less := range mototest.Without(t, policy) {
		prefix := "vpn/office"
		if action == "secretsmanager:CreateSecret" {
			// Of a launch whose secrets nobody has made.
			prefix = "vpn/another"
			less = strings.ReplaceAll(less, "vpn/office", prefix)
		}
		set(less)
		out, err := r.runPKI(t, "publish", "--secret", prefix)
		if err == nil || !strings.Contains(out, "they need "+action+" on it") {
			t.Errorf("without %s, publish says:\n%s", action, out)
			continue
		}
		t.Logf("without %-34s publish: %s", action, strings.TrimSpace(strings.SplitN(out, ": AWS", 2)[0]))
	}
	_, err = client.SetDefaultPolicyVersion(t.Context(), &iam.SetDefaultPolicyVersionInput{PolicyArn: &r.publisher.policy, VersionId: aws.String("v1")})
	fatal(t, err)
	versions, err := client.ListPolicyVersions(t.Context(), &iam.ListPolicyVersionsInput{PolicyArn: &r.publisher.policy})
	fatal(t, err)
	for _, v := range versions.Versions {
		if aws.ToString(v.VersionId) != "v1" {
			_, err := client.DeletePolicyVersion(t.Context(), &iam.DeletePolicyVersionInput{PolicyArn: &r.publisher.policy, VersionId: v.VersionId})
			fatal(t, err)
		}
	}
}

// gatewayPolicy takes each action away from the gateway's role in turn and has the
// program run again, SSH opened anew. It must say which step lacks it.
func (r *rehearsal) gatewayPolicy(t *testing.T) {
	lacking := map[string]string{
		"secretsmanager:GetSecretValue":  "unseal",
		"ec2:DescribeSecurityGroups":     "seal",
		"ec2:DescribeSecurityGroupRules": "seal",
		"ec2:RevokeSecurityGroupIngress": "seal",
		"ec2:CreateTags":                 "tagging instance", // the report, which warns: the boot is over by then
	}
	vpn, err := r.Instance(t.Context(), "vpn")
	fatal(t, err)
	client, name := iam.NewFromConfig(r.AWS()), aws.String("gateway")
	got, err := client.GetRolePolicy(t.Context(), &iam.GetRolePolicyInput{RoleName: &r.role, PolicyName: name})
	fatal(t, err)
	whole := plain(t, aws.ToString(got.PolicyDocument))
	set := func(policy string) {
		t.Helper()
		_, err := client.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &r.role, PolicyName: name, PolicyDocument: &policy})
		fatal(t, err)
	}
	for action, less := range mototest.Without(t, whole) {
		step, known := lacking[action]
		if !known {
			t.Errorf("the policy allows %s, and it is not known which step needs it", action)
			continue
		}
		r.openSSH(t)
		set(less)
		result := r.bootAgain(t, vpn)
		var said struct {
			Steps []struct {
				Name   string
				Failed bool
			}
			Warnings []string
		}
		fatal(t, json.Unmarshal(result.Raw, &said))
		failed, told := "", result.Cause
		for _, s := range said.Steps {
			if s.Failed {
				failed = s.Name
			}
		}
		for _, w := range said.Warnings {
			if failed == "" && strings.HasPrefix(w, step) {
				failed, told = step, w
			}
		}
		if failed != step {
			t.Errorf("without %s failed %q, want %q: %s", action, failed, step, result.Raw)
		}
		t.Logf("without %-34s %s, %s: %s", action, result.State, failed, told)
	}
	set(whole)
	if result := r.bootAgain(t, vpn); result.State != "ready" {
		t.Errorf("with the whole policy again it is %s: %s", result.State, result.Cause)
	}
}

// bootAgain has the program run again, and returns how it ended.
func (r *rehearsal) bootAgain(t *testing.T, gateway *lab.Instance) lab.Result {
	t.Helper()
	_, err := gateway.Exec(within(t, time.Minute), "systemctl", "restart", "vpnami-firstboot.service")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	result, err := gateway.Result(t.Context())
	fatal(t, err)
	return result
}

func (r *rehearsal) openSSH(t *testing.T) {
	t.Helper()
	rule := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}
	_, err := ec2.NewFromConfig(r.AWS()).AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &r.bootstrap, IpPermissions: []types.IpPermission{rule}})
	if err != nil && !strings.Contains(err.Error(), "Duplicate") {
		t.Fatal(err)
	}
}
