// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package iam holds the policies of the roles that bake, verify, promote and sweep.
package iam

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

type statement struct {
	Sid              string
	Principal        map[string]any
	Action, Resource any
	Condition        map[string]map[string]any
}

const byTag = "aws:ResourceTag/"

// TestNobodyTagsHerselfMore: where a tag on a thing is what lets a role end, change or
// share it, the role cannot give that tag to what is there already. It may while the
// thing is made (ec2:CreateAction), and may set other tags.
func TestNobodyTagsHerselfMore(t *testing.T) {
	for _, file := range []string{"bake.json", "promote.json", "sweep.json", "verify.json"} {
		all := read(t, file)
		var keys []string
		for _, s := range all {
			for _, condition := range s.Condition {
				for key := range condition {
					if tag, is := strings.CutPrefix(key, byTag); is && !slices.Contains(keys, tag) {
						keys = append(keys, tag)
					}
				}
			}
		}
		for _, s := range all {
			if !slices.Contains(words(s.Action), "ec2:CreateTags") || len(words(s.Condition["StringEquals"]["ec2:CreateAction"])) > 0 {
				continue
			}
			// AWS compares the name of a tag in a condition without regard to case.
			spared := words(s.Condition["ForAllValues:StringNotEqualsIgnoreCase"]["aws:TagKeys"])
			for _, key := range keys {
				if !slices.Contains(spared, key) && !onlyUntagged(s, key) {
					t.Errorf("%s: %s gives %s to what is there, and what bears it may be ended or changed", file, s.Sid, key)
				}
			}
		}
	}
}

// onlyUntagged tells whether the statement is about volumes, and groups of which no
// launch is the owner: of what Terraform makes, these are tagged afterwards (its log
// of an apply says so).
func onlyUntagged(s statement, key string) bool {
	return s.Condition["Null"][byTag+key] == "true" && !slices.ContainsFunc(words(s.Resource), func(r string) bool {
		return !strings.HasSuffix(r, ":volume/*") && !strings.HasSuffix(r, ":security-group/*")
	})
}

// TestBakeTouchesOnlyItsOwn: what changes, images, shares or removes something asks for
// the tag that a bake gives to what it makes.
func TestBakeTouchesOnlyItsOwn(t *testing.T) {
	for action, on := range map[string]string{
		"ec2:ModifyInstanceAttribute":             "instance/",
		"ec2:CreateImage":                         "instance/",
		"ec2:StopInstances":                       "instance/",
		"ec2:TerminateInstances":                  "instance/",
		"ec2:ModifyImageAttribute":                "image/",
		"ec2:ModifySnapshotAttribute":             "snapshot/",
		"ec2:EnableImageDeprecation":              "image/",
		"ec2:EnableImageDeregistrationProtection": "image/",
		"ec2:DeregisterImage":                     "image/",
		"ec2:DeleteSnapshot":                      "snapshot/",
		"ec2:DeleteVolume":                        "volume/",
		"ec2:DeleteSecurityGroup":                 "security-group/",
		"ec2:AuthorizeSecurityGroupIngress":       "security-group/",
	} {
		for _, s := range read(t, "bake.json") {
			reaches := slices.ContainsFunc(words(s.Resource), func(r string) bool { return r == "*" || strings.Contains(r, on) })
			if slices.Contains(words(s.Action), action) && reaches && len(words(s.Condition["StringLike"][byTag+"vpnami:bake"])) == 0 {
				t.Errorf("%s: %s is allowed on any %s of the account", s.Sid, action, strings.TrimSuffix(on, "/"))
			}
		}
	}
}

// TestAKeyOfOnesOwn: who bakes, or launches from an encrypted AMI, uses that one key, by
// EC2 alone, for what EBS asks for and nothing else; and the key lets another account do
// that much. Moto knows of no rights on keys, so no rehearsal shows that it is enough.
// https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html
func TestAKeyOfOnesOwn(t *testing.T) {
	asked := []string{"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"}
	for file, resource := range map[string]string{
		"volumes.json": "arn:aws:kms:*:OWNER:key/KEY",
		"key.json":     "*", // in a key's policy it is that key
	} {
		var allowed []string
		for _, s := range read(t, file) {
			if s.Principal["AWS"] == "arn:aws:iam::OWNER:root" {
				continue // as every key has it
			}
			allowed = append(allowed, words(s.Action)...)
			if !slices.Equal(words(s.Resource), []string{resource}) {
				t.Errorf("%s: %s is about %v, want %q", file, s.Sid, s.Resource, resource)
			}
			if s.Condition["StringLike"]["kms:ViaService"] != "ec2.*.amazonaws.com" {
				t.Errorf("%s: %s is not for EC2 alone", file, s.Sid)
			}
			if slices.Contains(words(s.Action), "kms:CreateGrant") && s.Condition["Bool"]["kms:GrantIsForAWSResource"] != "true" {
				t.Errorf("%s: %s gives the key on to whomever she likes", file, s.Sid)
			}
		}
		slices.Sort(allowed)
		if !slices.Equal(allowed, asked) {
			t.Errorf("%s allows %q, want %q", file, allowed, asked)
		}
	}
	for _, file := range []string{"../amazon.pkr.hcl", "../launch/variables_machines.tf", "../../README.md", "../../.github/workflows/ami.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "volumes.json") {
			t.Errorf("%s speaks of keys, and not of images/iam/volumes.json", file)
		}
	}
}

func read(t *testing.T, file string) []statement {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var policy struct{ Statement []statement }
	if err := json.Unmarshal(data, &policy); err != nil || len(policy.Statement) == 0 {
		t.Fatalf("reading %s: %v, %d statements", file, err, len(policy.Statement))
	}
	return policy.Statement
}

func words(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		list := make([]string, len(v))
		for i, word := range v {
			list[i] = fmt.Sprint(word)
		}
		return list
	}
	return nil
}
