// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse && !lab

package verify

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/images/launch/launchtest"
	"github.com/vpnami/packer-plugin-vpnami/images/verify/leftovers"
)

// lack is which step of a verification fails that lacks one right.
type lack struct {
	right string // Sid/action
	step  step
	on    string // the resource of Terraform's
}

// step is something that a verification does. It returns what was said where it failed,
// by Terraform with that word before the resource.
type step struct {
	name  string
	blame string
	do    func(v *verification, t *testing.T, on string) (failed bool, said string)
}

func finding() step {
	return step{"finding the AMI", "", func(v *verification, t *testing.T, _ string) (bool, string) {
		_, err := v.begin(within(t, time.Minute))
		return outcome(err)
	}}
}

func importing() step {
	return step{"importing the key", "", func(v *verification, t *testing.T, _ string) (bool, string) {
		return outcome(v.importKey(within(t, time.Minute), v.l.Name))
	}}
}

func applying() step {
	return step{"terraform apply", "with ", func(v *verification, t *testing.T, on string) (bool, string) {
		return v.terraform(t, "apply", "-auto-approve", "-refresh=false", "-target="+on)
	}}
}

func planning() step {
	return step{"terraform plan", "with ", func(v *verification, t *testing.T, _ string) (bool, string) {
		return v.terraform(t, "plan")
	}}
}

func publishing() step {
	return step{"publish", "", func(v *verification, t *testing.T, _ string) (bool, string) {
		said, err := v.pki(within(t, time.Minute), "publish", "--secret", v.l.Vars["secret"])
		// What it was about to publish comes first.
		_, why, _ := strings.Cut(said, "vpnami-pki: ")
		return err != nil, why
	}}
}

func readingConsole() step {
	return step{"reading a console", "", func(v *verification, t *testing.T, _ string) (bool, string) {
		_, err := v.console(within(t, time.Minute), v.find(t).gateway)
		return outcome(err)
	}}
}

func sweeping() step {
	return step{"looking for leftovers", "", func(v *verification, t *testing.T, _ string) (bool, string) {
		_, err := leftovers.Open(v.cfg).Find(within(t, time.Minute), time.Now().Add(time.Minute))
		return outcome(err)
	}}
}

func destroying() step {
	return step{"terraform destroy", "", func(v *verification, t *testing.T, on string) (bool, string) {
		return v.terraform(t, "destroy", "-auto-approve", "-refresh=false", "-target="+on)
	}}
}

func deletingKey() step {
	return step{"deleting the key", "", func(v *verification, t *testing.T, _ string) (bool, string) {
		return outcome(v.deleteKey(within(t, time.Minute), v.l.Name))
	}}
}

func outcome(err error) (bool, string) {
	if err != nil {
		return true, err.Error()
	}
	return false, ""
}

// goingUp makes the launch resource by resource, each after those that it needs: a
// right is taken away for the first that cannot be made without.
func goingUp() []lack {
	up := applying()
	return []lack{
		{"Look/ec2:DescribeImages", finding(), ""},
		{"Launch/ec2:ImportKeyPair", importing(), ""},

		{"Launch/ec2:CreateVpc", up, "aws_vpc.new"},
		{"TagWhatIsLaunched/ec2:CreateTags", up, "aws_vpc.new"},
		{"ReadAndEndIt/ec2:ModifyVpcAttribute", up, "aws_vpc.new"},
		{"TagVolumesAndTheDefaultGroup/ec2:CreateTags", up, "aws_default_security_group.new"},
		{"Launch/ec2:CreateInternetGateway", up, "aws_internet_gateway.new"},
		{"Launch/ec2:AttachInternetGateway", up, "aws_internet_gateway.new"},
		{"Launch/ec2:CreateSubnet", up, "aws_subnet.gateway"},
		{"Launch/ec2:CreateRouteTable", up, "aws_route_table.gateway"},
		{"Launch/ec2:CreateRoute", up, "aws_route.internet"},
		{"Launch/ec2:AssociateRouteTable", up, "aws_route_table_association.gateway"},
		{"Launch/ec2:CreateSecurityGroup", up, "aws_security_group.bootstrap"},
		{"Launch/ec2:RevokeSecurityGroupEgress", up, "aws_security_group.bootstrap"},
		{"Launch/ec2:AuthorizeSecurityGroupIngress", up, "aws_security_group.bootstrap"},
		{"Launch/ec2:AuthorizeSecurityGroupEgress", up, "aws_vpc_security_group_egress_rule.gateway_web"},
		{"Launch/ec2:CreateNetworkInterface", up, "aws_network_interface.step"},

		{"Secrets/secretsmanager:CreateSecret", up, "aws_secretsmanager_secret.server"},
		{"Secrets/secretsmanager:TagResource", up, "aws_secretsmanager_secret.server"},
		{"Roles/iam:CreateRole", up, "aws_iam_role.gateway"},
		{"Roles/iam:TagRole", up, "aws_iam_role.gateway"},
		{"Roles/iam:PutRolePolicy", up, "aws_iam_role_policy.gateway"},
		{"Roles/iam:CreateInstanceProfile", up, "aws_iam_instance_profile.gateway"},
		{"Roles/iam:TagInstanceProfile", up, "aws_iam_instance_profile.gateway"},
		{"Roles/iam:AddRoleToInstanceProfile", up, "aws_iam_instance_profile.gateway"},
		{"GiveThemToInstances/iam:PassRole", up, "aws_iam_instance_profile.gateway"},
		{"Roles/iam:CreatePolicy", up, "aws_iam_policy.publisher"},
		{"Roles/iam:TagPolicy", up, "aws_iam_policy.publisher"},

		{"Launch/ec2:RunInstances", up, "aws_instance.gateway"},
		{"ReadAndEndIt/ec2:ModifyInstanceAttribute", up, "aws_instance.gateway"},
		{"Launch/ec2:AllocateAddress", up, "aws_eip.gateway"},
		{"Launch/ec2:AssociateAddress", up, "aws_eip.gateway"},

		{"Logs/logs:CreateLogGroup", up, "aws_cloudwatch_log_group.status"},
		{"Logs/logs:TagResource", up, "aws_cloudwatch_log_group.status"},
		{"Logs/logs:PutRetentionPolicy", up, "aws_cloudwatch_log_group.status"},
		{"LetEventsWriteLogs/logs:PutResourcePolicy", up, "aws_cloudwatch_log_resource_policy.status"},
		{"Events/events:PutRule", up, "aws_cloudwatch_event_rule.status"},
		{"Events/events:TagResource", up, "aws_cloudwatch_event_rule.status"},
		{"Events/events:PutTargets", up, "aws_cloudwatch_event_target.status"},
		{"Alarms/cloudwatch:PutMetricAlarm", up, "aws_cloudwatch_metric_alarm.wrong"},
		{"Alarms/cloudwatch:TagResource", up, "aws_cloudwatch_metric_alarm.wrong"},
	}
}

// standing are the rights by which what was launched is read and published to, and by
// which a killed run's leftovers are found.
func standing() []lack {
	var all []lack
	for _, right := range []string{
		"Look/ec2:DescribeAddresses", "Look/ec2:DescribeAddressesAttribute", "Look/ec2:DescribeAvailabilityZones",
		"Look/ec2:DescribeInstanceAttribute", "Look/ec2:DescribeInstanceCreditSpecifications", "Look/ec2:DescribeInstanceTypes",
		"Look/ec2:DescribeInstances", "Look/ec2:DescribeInternetGateways",
		"Look/ec2:DescribeNetworkInterfaces", "Look/ec2:DescribeRouteTables", "Look/ec2:DescribeSecurityGroupRules",
		"Look/ec2:DescribeSecurityGroups", "Look/ec2:DescribeSubnets", "Look/ec2:DescribeTags", "Look/ec2:DescribeVolumes",
		"Look/ec2:DescribeVpcAttribute", "Look/ec2:DescribeVpcs", "Look/cloudwatch:DescribeAlarms", "Look/logs:DescribeLogGroups",
		"Look/logs:DescribeResourcePolicies", "Roles/iam:GetInstanceProfile", "Roles/iam:GetPolicy", "Roles/iam:GetPolicyVersion",
		"Roles/iam:GetRole", "Roles/iam:GetRolePolicy", "Roles/iam:ListAttachedRolePolicies", "Roles/iam:ListRolePolicies",
		"Secrets/secretsmanager:DescribeSecret", "Secrets/secretsmanager:GetResourcePolicy", "Alarms/cloudwatch:ListTagsForResource",
		"Events/events:DescribeRule", "Events/events:ListTagsForResource", "Events/events:ListTargetsByRule", "Logs/logs:ListTagsForResource",
	} {
		all = append(all, lack{right, planning(), ""})
	}
	for _, right := range []string{
		"Look/ec2:DescribeKeyPairs", "Look/events:ListRules", "Look/iam:ListInstanceProfiles", "Look/iam:ListPolicies",
		"Look/iam:ListRoles", "Look/secretsmanager:ListSecrets",
	} {
		all = append(all, lack{right, sweeping(), ""})
	}
	return append(all,
		lack{"Secrets/secretsmanager:GetSecretValue", publishing(), ""},
		lack{"Secrets/secretsmanager:PutSecretValue", publishing(), ""},
		lack{"ReadAndEndIt/ec2:GetConsoleOutput", readingConsole(), ""},
	)
}

// goingDown ends the launch resource by resource, each before those that it needs.
func goingDown() []lack {
	down := destroying()
	return []lack{
		{"Alarms/cloudwatch:DeleteAlarms", down, "aws_cloudwatch_metric_alarm.wrong"},
		{"Events/events:RemoveTargets", down, "aws_cloudwatch_event_target.status"},
		{"Events/events:DeleteRule", down, "aws_cloudwatch_event_rule.status"},
		{"LetEventsWriteLogs/logs:DeleteResourcePolicy", down, "aws_cloudwatch_log_resource_policy.status"},
		{"Logs/logs:DeleteLogGroup", down, "aws_cloudwatch_log_group.status"},

		{"Launch/ec2:DisassociateAddress", down, "aws_eip.gateway"},
		{"ReadAndEndIt/ec2:ReleaseAddress", down, "aws_eip.gateway"},
		{"ReadAndEndIt/ec2:TerminateInstances", down, "aws_instance.gateway"},
		{"Launch/ec2:DetachNetworkInterface", down, "aws_network_interface.step"},
		{"ReadAndEndIt/ec2:DeleteNetworkInterface", down, "aws_network_interface.step"},

		{"Roles/iam:ListPolicyVersions", down, "aws_iam_policy.publisher"},
		{"Roles/iam:DeletePolicy", down, "aws_iam_policy.publisher"},
		{"Roles/iam:DeleteRolePolicy", down, "aws_iam_role_policy.gateway"},
		{"Roles/iam:RemoveRoleFromInstanceProfile", down, "aws_iam_instance_profile.gateway"},
		{"Roles/iam:DeleteInstanceProfile", down, "aws_iam_instance_profile.gateway"},
		{"Roles/iam:ListInstanceProfilesForRole", down, "aws_iam_role.gateway"},
		{"Roles/iam:DeleteRole", down, "aws_iam_role.gateway"},
		{"Secrets/secretsmanager:DeleteSecret", down, "aws_secretsmanager_secret.server"},

		{"Launch/ec2:RevokeSecurityGroupIngress", down, "aws_vpc_security_group_ingress_rule.clients"},
		{"ReadAndEndIt/ec2:DeleteSecurityGroup", down, "aws_security_group.gateway"},
		{"ReadAndEndIt/ec2:DisassociateRouteTable", down, "aws_route_table_association.gateway"},
		{"ReadAndEndIt/ec2:DeleteRoute", down, "aws_route.internet"},
		{"ReadAndEndIt/ec2:DeleteRouteTable", down, "aws_route_table.gateway"},
		{"ReadAndEndIt/ec2:DeleteSubnet", down, "aws_subnet.gateway"},
		{"ReadAndEndIt/ec2:DetachInternetGateway", down, "aws_internet_gateway.new"},
		{"ReadAndEndIt/ec2:DeleteInternetGateway", down, "aws_internet_gateway.new"},
		{"ReadAndEndIt/ec2:DeleteVpc", down, "aws_vpc.new"},
		{"ReadAndEndIt/ec2:DeleteKeyPair", deletingKey(), ""},
	}
}

// verification is what "make verify-aws" does, without the machines: EC2 is moto's
// record of them.
type verification struct {
	awsTarget
	m      launchtest.Module
	iam    *iam.Client // of whoever gives the verifier her policy
	policy string
	l      awsLaunch
}

// verifier is whose policy it is.
const verifier = "verifier"

// TestVerifyPolicy: without any one right of verify.json a step of a verification
// fails, which is named, and with all of them none does.
func TestVerifyPolicy(t *testing.T) {
	launchtest.Need(t)
	data, err := os.ReadFile(filepath.Join("..", "iam", "verify.json"))
	if err != nil {
		t.Fatal(err)
	}
	endpoint := mototest.Start(t)
	operator := mototest.IAM(endpoint, mototest.EnforceIAM(t, endpoint))
	v := &verification{iam: operator, policy: strings.ReplaceAll(string(data), "ACCOUNT", "123456789012")}
	user := mototest.User(t, operator, verifier, v.policy)
	v.awsTarget = atMoto(endpoint, user, t.TempDir())

	up, still, down := goingUp(), standing(), goingDown()
	var rows []string
	for _, l := range append(append(append([]lack{}, up...), still...), down...) {
		rows = append(rows, l.right)
	}
	mototest.CheckTable(t, v.policy, rows, nil)

	v.begins(t)
	v.lacking(t, up)
	if failed, said := importing().do(v, t, ""); failed {
		t.Fatal(said)
	}
	v.m.Apply(t, ".", v.l.Vars)
	v.m.Empty(t, ".", v.l.Vars)
	v.issue(t)
	v.lacking(t, still)
	for _, s := range []step{publishing(), readingConsole(), sweeping()} {
		if failed, said := s.do(v, t, ""); failed {
			t.Errorf("with the whole policy, %s fails:\n%s", s.name, said)
		}
	}
	// So that Terraform knows, as it would before it destroys, what is attached to what.
	v.m.Must(t, ".", append([]string{"apply", "-refresh-only", "-auto-approve", "-no-color", "-input=false"}, launchtest.Variables(v.l.Vars)...)...)
	v.lacking(t, down)
	v.destroy(t)
	left, err := leftovers.Open(v.cfg).Find(within(t, time.Minute), time.Now().Add(time.Minute))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// atMoto is an account at that moto, as that user, and this machine itself.
func atMoto(endpoint string, as mototest.Keys, folder string) awsTarget {
	const region = "ap-northeast-1"
	a := awsTarget{command: exec.CommandContext, ami: mototest.Image, folder: filepath.Join(folder, "launch"), network: "10.0.0.0/16", tunnel: "10.0.255.0/24"}
	a.env = append(mototest.Environ(endpoint, region), as.Environment()...)
	a.cfg = aws.Config{Region: region, BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider(as.ID, as.Secret, "")}
	return a
}

// begins is the part of a launch before anything is made, with all rights.
func (v *verification) begins(t *testing.T) {
	t.Helper()
	var err error
	if v.l, err = v.begin(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	v.makeKey(t, v.l.Name)
	v.m = v.module(t)
	v.m.Init(t, ".")
}

// lacking takes the rights of those rows away in turn.
func (v *verification) lacking(t *testing.T, rows []lack) {
	t.Helper()
	less := map[string]mototest.Less{}
	for _, each := range mototest.Each(t, v.policy) {
		less[each.Right()] = each
	}
	for _, l := range rows {
		began := time.Now()
		one := less[l.right]
		v.allow(t, one.Policy)
		failed, said := l.step.do(v, t, l.on)
		// Terraform breaks its lines.
		plain := strings.Join(strings.Fields(strings.ReplaceAll(said, "│", "")), " ")
		if !failed || !strings.Contains(plain, "perform: "+one.Action) || !strings.Contains(plain, l.step.blame+l.on) {
			t.Errorf("without %s, %s of %s (failed: %v) says:\n%s", l.right, l.step.name, l.on, failed, said)
			continue
		}
		t.Logf("without %-52s %s: %s (%.0f s)", l.right, l.step.name, reason(plain), time.Since(began).Seconds())
	}
	v.allow(t, v.policy)
}

func (v *verification) allow(t *testing.T, policy string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := v.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String(verifier), PolicyName: aws.String("all"), PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
}

func (v *verification) terraform(t *testing.T, args ...string) (failed bool, said string) {
	t.Helper()
	said, code := v.m.Run(t, ".", append(append(args, "-no-color", "-input=false"), launchtest.Variables(v.l.Vars)...)...)
	return code != 0, said
}

// reason is what failed in a few words, without the request and AWS's answer.
func reason(said string) string {
	if _, last, found := strings.Cut(said, "Error: "); found {
		said = last
	}
	said, _, _ = strings.Cut(said, ": operation error")
	said, _, _ = strings.Cut(said, ": AWS denies it")
	return said
}
