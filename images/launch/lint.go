// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package launch

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Plan is what Lint reads of "terraform show -json".
type Plan struct {
	Planned struct {
		Root Module `json:"root_module"`
	} `json:"planned_values"`
}

// Module is a module with what it makes.
type Module struct {
	Resources []Resource `json:"resources"`
	Children  []Module   `json:"child_modules"`
}

// Resource is one resource as it is to be. What is known only after the apply is
// not among its values.
type Resource struct {
	Address string         `json:"address"`
	Type    string         `json:"type"`
	Values  map[string]any `json:"values"`
}

// Lint tells what a launch of vpnami must not have, one finding a line: the address
// and what is wrong there. The daemon's port is the only one that may be open, but
// for SSH on the group that the first boot closes.
func Lint(plan []byte, daemon int) ([]string, error) {
	var p Plan
	if err := json.Unmarshal(plan, &p); err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	l := &linter{daemon: daemon}
	l.module(p.Planned.Root)
	if l.seen == 0 {
		return nil, fmt.Errorf("reading the plan: it plans nothing")
	}
	slices.Sort(l.findings)
	return l.findings, nil
}

type linter struct {
	daemon   int
	seen     int
	findings []string
}

func (l *linter) module(m Module) {
	for _, r := range m.Resources {
		l.seen++
		l.resource(r)
	}
	for _, child := range m.Children {
		l.module(child)
	}
}

func (l *linter) find(r Resource, format string, args ...any) {
	l.findings = append(l.findings, r.Address+": "+fmt.Sprintf(format, args...))
}

func (l *linter) resource(r Resource) {
	switch r.Type {
	case "aws_iam_role_policy", "aws_iam_policy", "aws_cloudwatch_log_resource_policy":
		l.policy(r)
	case "aws_iam_role_policy_attachment", "aws_iam_user_policy", "aws_iam_group_policy":
		l.find(r, "rights that are not written down in this module")
	case "aws_vpc_security_group_ingress_rule":
		l.ingressRule(r)
	case "aws_security_group_rule":
		l.find(r, "a rule of the old kind, which nothing here looks at")
	case "aws_security_group":
		l.inlineIngress(r)
	case "aws_instance":
		l.metadata(r)
		l.encrypted(r, "root_block_device", true)
		l.encrypted(r, "ebs_block_device", false)
	case "aws_launch_template":
		if ofInterface(r) {
			break // the instance says the rest, and is looked at
		}
		l.metadata(r)
		l.templateVolumes(r)
	case "aws_ebs_volume":
		if r.Values["encrypted"] != true {
			l.find(r, "the volume is not encrypted")
		}
	}
}

// describes are the actions that AWS cannot limit to a resource:
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
func describes() []string {
	return []string{"ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules"}
}

type statement struct {
	Effect                               string
	Action, Resource                     any
	NotAction, NotResource, NotPrincipal any
	Condition                            map[string]map[string]any
}

func (l *linter) policy(r Resource) {
	text, ok := r.Values["policy"].(string)
	if !ok {
		text, ok = r.Values["policy_document"].(string)
	}
	var document struct{ Statement []statement }
	if !ok || json.Unmarshal([]byte(text), &document) != nil || len(document.Statement) == 0 {
		l.find(r, "the policy cannot be read from the plan")
		return
	}
	for _, s := range document.Statement {
		if s.Effect != "Allow" {
			continue
		}
		if s.NotAction != nil || s.NotResource != nil || s.NotPrincipal != nil {
			l.find(r, "it allows everything but something")
		}
		actions, resources := words(s.Action), words(s.Resource)
		for _, action := range actions {
			if strings.Contains(action, "*") {
				l.find(r, "the action %q has a wildcard", action)
			}
			if slices.ContainsFunc(resources, func(of string) bool { return !strings.HasPrefix(of, "arn:") }) && !slices.Contains(describes(), action) {
				l.find(r, "%s is allowed on %q", action, resources)
			}
			l.consent(r, action, s.Condition)
			if strings.HasPrefix(action, "secretsmanager:") {
				l.ownSecrets(r, resources)
			}
		}
		if len(actions) == 0 || len(resources) == 0 {
			l.find(r, "a statement names no action or no resource")
		}
	}
}

// consent looks for the conditions without which a right would reach beyond the
// launch.
func (l *linter) consent(r Resource, action string, conditions map[string]map[string]any) {
	needed := map[string][][3]string{
		"ec2:RevokeSecurityGroupIngress": {{"StringEquals", "aws:ResourceTag/vpnami:consent", "seal-ssh"}, {"StringEquals", "aws:ResourceTag/vpnami:launch", ""}},
		"ec2:CreateTags":                 {{"ForAllValues:StringLike", "aws:TagKeys", "vpnami:status*"}, {"Null", "aws:TagKeys", "false"}, {"StringEquals", "aws:ResourceTag/vpnami:launch", ""}},
		"kms:Decrypt":                    {{"StringLike", "kms:EncryptionContext:SecretARN", ""}},
		"logs:PutLogEvents":              {{"ArnEquals", "aws:SourceArn", ""}},
	}
	// EventBridge does not say for which rule it makes a stream.
	if action == "logs:CreateLogStream" && len(conditions) > 0 {
		l.find(r, "%s is allowed on a condition that is never met", action)
	}
	for _, c := range needed[action] {
		values := words(conditions[c[0]][c[1]])
		if len(values) == 0 || c[2] != "" && !slices.Equal(values, []string{c[2]}) {
			l.find(r, "%s is allowed without the condition %s %s %s", action, c[0], c[1], c[2])
		}
	}
}

// ownSecrets looks for what is not the launch's own: everything below a prefix is also
// that of a launch whose prefix is longer, and what ends in a star goes on over slashes.
func (l *linter) ownSecrets(r Resource, resources []string) {
	for _, of := range resources {
		_, name, _ := strings.Cut(of, ":secret:")
		name = strings.TrimSuffix(name, "-??????")
		prefix, own := strings.CutSuffix(name, "/server")
		if !own {
			prefix, own = strings.CutSuffix(strings.TrimSuffix(name, "/???"), "/access")
		}
		if !own || strings.ContainsAny(prefix, "*?") {
			l.find(r, "it reaches %q, where another launch may have its secrets", of)
		}
	}
}

func words(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, word := range v {
			list = append(list, fmt.Sprint(word))
		}
		return list
	}
	return nil
}

// exposed tells whether a network is more than a company's own: shorter than /8 or
// not private.
func exposed(network any) bool {
	text, ok := network.(string)
	if !ok || text == "" {
		return false
	}
	for _, private := range []string{"10.", "192.168.", "100.64."} {
		if strings.HasPrefix(text, private) {
			return false
		}
	}
	return !strings.HasPrefix(text, "172.16.")
}

func (l *linter) ingressRule(r Resource) {
	if r.Values["cidr_ipv6"] != nil || r.Values["prefix_list_id"] != nil {
		l.find(r, "ingress that is not by IPv4 network or group")
	}
	if !exposed(r.Values["cidr_ipv4"]) {
		return
	}
	port := float64(l.daemon)
	if r.Values["ip_protocol"] != "udp" && r.Values["ip_protocol"] != "tcp" || r.Values["from_port"] != port || r.Values["to_port"] != port {
		l.find(r, "%v %v-%v is open to %v", r.Values["ip_protocol"], r.Values["from_port"], r.Values["to_port"], r.Values["cidr_ipv4"])
	}
}

func (l *linter) inlineIngress(r Resource) {
	tags, _ := r.Values["tags"].(map[string]any)
	rules, _ := r.Values["ingress"].([]any)
	for _, each := range rules {
		rule, _ := each.(map[string]any)
		bootstrap := tags["vpnami:consent"] == "seal-ssh" && rule["protocol"] == "tcp" && rule["from_port"] == float64(22) && rule["to_port"] == float64(22)
		if !bootstrap {
			l.find(r, "inline ingress %v %v-%v, which is for SSH on the group that the first boot closes", rule["protocol"], rule["from_port"], rule["to_port"])
		}
	}
}

func (l *linter) metadata(r Resource) {
	options := first(r.Values["metadata_options"])
	if options["http_tokens"] != "required" {
		l.find(r, "the metadata service answers without a token")
	}
	if options["http_put_response_hop_limit"] != float64(1) {
		l.find(r, "the metadata service's tokens reach beyond the machine: want hop limit 1")
	}
}

func (l *linter) encrypted(r Resource, block string, needed bool) {
	volumes, _ := r.Values[block].([]any)
	if needed && len(volumes) == 0 {
		l.find(r, "nothing is said of its root volume")
	}
	for _, each := range volumes {
		if volume, _ := each.(map[string]any); volume["encrypted"] != true {
			l.find(r, "a volume is not encrypted")
		}
	}
}

// ofInterface tells of a template that says what an interface is, and nothing of a
// machine: by itself it launches none.
func ofInterface(r Resource) bool {
	for _, attribute := range []string{"image_id", "instance_type", "user_data", "key_name"} {
		if r.Values[attribute] != nil && r.Values[attribute] != "" {
			return false
		}
	}
	return len(words(r.Values["network_interfaces"])) == 1
}

func (l *linter) templateVolumes(r Resource) {
	mappings, _ := r.Values["block_device_mappings"].([]any)
	if len(mappings) == 0 {
		l.find(r, "nothing is said of its root volume")
	}
	for _, each := range mappings {
		mapping, _ := each.(map[string]any)
		ebs := first(mapping["ebs"])
		if fmt.Sprint(ebs["encrypted"]) != "true" {
			l.find(r, "a volume is not encrypted")
		}
	}
}

// first is a block that there is one of.
func first(value any) map[string]any {
	list, _ := value.([]any)
	if len(list) != 1 {
		return nil
	}
	block, _ := list[0].(map[string]any)
	return block
}
