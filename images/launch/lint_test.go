// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package launch

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestLint: what is right passes, and each thing that is wrong is found.
func TestLint(t *testing.T) {
	const (
		options = `"metadata_options": [{"http_tokens": "required", "http_put_response_hop_limit": 1}]`
		root    = `"root_block_device": [{"encrypted": true}]`
		consent = `"Condition": {"StringEquals": {"aws:ResourceTag/vpnami:consent": "seal-ssh", "aws:ResourceTag/vpnami:launch": "vpn"}}`
	)
	policy := func(statement string) string {
		return fmt.Sprintf(`"policy": %q`, `{"Statement": [`+statement+`]}`)
	}
	for _, c := range []struct{ kind, values, want string }{
		{"aws_instance", options + "," + root, ""},
		{"aws_instance", root, "without a token"},
		{"aws_instance", strings.ReplaceAll(options, "required", "optional") + "," + root, "without a token"},
		{"aws_instance", strings.ReplaceAll(options, ": 1", ": 2") + "," + root, "hop limit 1"},
		{"aws_instance", options, "nothing is said of its root volume"},
		{"aws_instance", options + "," + strings.ReplaceAll(root, "true", "false"), "not encrypted"},
		{"aws_instance", options + "," + root + `, "ebs_block_device": [{"encrypted": false}]`, "not encrypted"},
		{"aws_launch_template", options + `, "block_device_mappings": [{"ebs": [{"encrypted": "true"}]}]`, ""},
		{"aws_launch_template", options + `, "block_device_mappings": [{"ebs": [{"encrypted": "false"}]}]`, "not encrypted"},
		{"aws_launch_template", options, "nothing is said of its root volume"},
		{"aws_launch_template", `"network_interfaces": [{"device_index": 0}], "image_id": null`, ""},
		{"aws_launch_template", `"network_interfaces": [{"device_index": 0}], "image_id": "ami-1"`, "without a token"},
		{"aws_launch_template", `"network_interfaces": [{"device_index": 0}], "instance_type": "t3.small"`, "nothing is said of its root volume"},
		{"aws_ebs_volume", `"encrypted": false`, "not encrypted"},
		{"aws_vpc_security_group_ingress_rule", `"cidr_ipv4": "0.0.0.0/0", "ip_protocol": "udp", "from_port": 1194, "to_port": 1194`, ""},
		{"aws_vpc_security_group_ingress_rule", `"cidr_ipv4": "10.0.0.0/16", "ip_protocol": "tcp", "from_port": 22, "to_port": 22`, ""},
		{"aws_vpc_security_group_ingress_rule", `"cidr_ipv4": "0.0.0.0/0", "ip_protocol": "tcp", "from_port": 22, "to_port": 22`, "is open to 0.0.0.0/0"},
		{"aws_vpc_security_group_ingress_rule", `"cidr_ipv4": "0.0.0.0/1", "ip_protocol": "udp", "from_port": 1, "to_port": 65535`, "is open to"},
		{"aws_vpc_security_group_ingress_rule", `"cidr_ipv6": "::/0", "ip_protocol": "udp", "from_port": 1194, "to_port": 1194`, "not by IPv4"},
		{"aws_security_group_rule", `"type": "ingress"`, "of the old kind"},
		{"aws_security_group", `"tags": {"vpnami:consent": "seal-ssh"}, "ingress": [{"protocol": "tcp", "from_port": 22, "to_port": 22}]`, ""},
		{"aws_security_group", `"tags": {}, "ingress": [{"protocol": "tcp", "from_port": 22, "to_port": 22}]`, "inline ingress"},
		{"aws_security_group", `"tags": {"vpnami:consent": "seal-ssh"}, "ingress": [{"protocol": "-1", "from_port": 0, "to_port": 0}]`, "inline ingress"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": ["ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules"], "Resource": "*"}`), ""},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"}`), "is allowed on"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "arn:aws:secretsmanager:r:1:secret:vpn/office/*"}`), "wildcard"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:x"}`), "everything but"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "ec2:RevokeSecurityGroupIngress", "Resource": "arn:x", ` + consent + `}`), ""},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "ec2:RevokeSecurityGroupIngress", "Resource": "arn:x"}`), "without the condition StringEquals aws:ResourceTag/vpnami:consent"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "ec2:RevokeSecurityGroupIngress", "Resource": "arn:x", ` + strings.ReplaceAll(consent, "seal-ssh", "*") + `}`), "without the condition"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "arn:x", ` + consent + `}`), "without the condition ForAllValues:StringLike aws:TagKeys"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "arn:aws:secretsmanager:r:1:secret:vpn/*"}`), "another launch"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": ["arn:aws:secretsmanager:r:1:secret:vpn/server", "arn:aws:secretsmanager:r:1:secret:vpn/server-??????", "arn:aws:secretsmanager:r:1:secret:vpn/access-??????", "arn:aws:secretsmanager:r:1:secret:vpn/access/???-??????"]}`), ""},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": ["arn:aws:secretsmanager:r:1:secret:vpn/server-*"]}`), "another launch"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": ["arn:aws:secretsmanager:r:1:secret:vpn/access/*"]}`), "another launch"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": ["arn:aws:secretsmanager:r:1:secret:vpn/access/???/server-*"]}`), "another launch"},
		{"aws_iam_role_policy", policy(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": ["arn:aws:secretsmanager:r:1:secret:*/server-??????"]}`), "another launch"},
		{"aws_cloudwatch_log_resource_policy", policy(`{"Effect": "Allow", "Action": "logs:CreateLogStream", "Resource": "arn:x"}, {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "arn:x", "Condition": {"ArnEquals": {"aws:SourceArn": "arn:y"}}}`), ""},
		{"aws_cloudwatch_log_resource_policy", policy(`{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "arn:x"}`), "without the condition ArnEquals aws:SourceArn"},
		{"aws_cloudwatch_log_resource_policy", policy(`{"Effect": "Allow", "Action": "logs:CreateLogStream", "Resource": "arn:x", "Condition": {"ArnEquals": {"aws:SourceArn": "arn:y"}}}`), "never met"},
		{"aws_iam_policy", policy(`{"Effect": "Allow", "Action": "secretsmanager:PutSecretValue", "Resource": ["arn:aws:secretsmanager:r:1:secret:vpn/*"]}`), "another launch"},
		{"aws_iam_role_policy", `"name": "known after apply"`, "cannot be read"},
		{"aws_iam_role_policy_attachment", `"policy_arn": "arn:aws:iam::aws:policy/AdministratorAccess"`, "not written down"},
	} {
		plan := fmt.Sprintf(`{"planned_values": {"root_module": {"child_modules": [{"resources": [{"address": "it", "type": %q, "values": {%s}}]}]}}}`, c.kind, c.values)
		found, err := Lint([]byte(plan), 1194)
		if err != nil {
			t.Errorf("%s: %v", plan, err)
		}
		if got := strings.Join(found, "\n"); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s %s: found %q, want %q", c.kind, c.values, got, c.want)
		}
	}
	if _, err := Lint([]byte(`{}`), 1194); err == nil {
		t.Error("a plan of nothing passes")
	}
}

// TestPolicyByHand: the README's policy, for who launches without Terraform, is no wider
// than the module's.
func TestPolicyByHand(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, policy, _ := strings.Cut(string(text), `{"Version": "2012-10-17", "Statement": [`)
	policy, _, found := strings.Cut(policy, "]}\n\n")
	plan, err := json.Marshal(map[string]any{"planned_values": map[string]any{"root_module": map[string]any{"resources": []Resource{
		{"by hand", "aws_iam_role_policy", map[string]any{"policy": `{"Statement": [` + policy + "]}"}},
	}}}})
	if err != nil || !found {
		t.Fatalf("the README has no policy: %v", err)
	}
	findings, err := Lint(plan, 1194)
	if err != nil || len(findings) > 0 {
		t.Errorf("%v\n%s", err, strings.Join(findings, "\n"))
	}
}
