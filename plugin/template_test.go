// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// installAmazon makes the real plugin for Amazon known to the Packer of env.
func installAmazon(t *testing.T, env []string) {
	t.Helper()
	install := exec.Command(need(t, "packer"), "plugins", "install", "--path", need(t, "packer-plugin-amazon"), "github.com/hashicorp/amazon")
	install.Env = env
	if said, err := install.CombinedOutput(); err != nil {
		t.Fatalf("installing the plugin for Amazon: %v\n%s", err, said)
	}
}

// The whole of the template, with the plugin for Amazon: what may be asked for, and
// what is refused before anything is made.
func TestAMITemplate(t *testing.T) {
	env := packerEnv(t, t.TempDir(), "")
	installAmazon(t, env)
	env = append(env, "AWS_REGION=ap-northeast-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true")
	for _, tt := range []struct {
		vars string // apart by |
		want string
	}{
		{"", "valid"},
		{"ubuntu=24.04|architecture=arm64", "valid"},
		{"ubuntu=26.04|architecture=amd64", "valid"},
		{"ubuntu=26.04|architecture=arm64|encrypt=true|kms_key=alias/ami|imds_support=v2.0", "valid"},
		{`copy_to=["eu-west-1"]|encrypt=true|share_with=["111122223333"]|kms_key=alias/ami`, "valid"},
		{"deprecate_at=2099-06-30T00:00:00Z|deregistration_protection=true", "valid"},
		{"ssh_interface=session_manager|instance_profile=ssm", "valid"},
		{`sources=["source.vpnami-bootstrap.local", "source.amazon-ebs.ubuntu"]`, "valid"},

		{"ubuntu=22.04", "The image can be made of Ubuntu 24.04 or 26.04."},
		{"architecture=x86_64", "The architecture can be amd64 or arm64."},
		{"source_owners=[]", "an owner must be given"},
		{"volume_size=4", "do not fit on less than 8 GiB"},
		{"imds_support=v1.0", `It can be "v2.0" or null`},
		{"ssh_interface=serial", "It can be public_ip"},
		{"version=latest", "three numbers with dots"},
		{"deprecate_at=soon", "deprecate_at is not a valid time"},
		{"manifest_path=/nowhere/manifest.json", "its folder is not there"},
	} {
		args := []string{"validate"}
		for v := range strings.SplitSeq(tt.vars, "|") {
			if v != "" {
				args = append(args, "-var", v)
			}
		}
		cmd := exec.Command(need(t, "packer"), append(args, "../images")...)
		cmd.Env = slices.Clone(env)
		said, err := cmd.CombinedOutput()
		if (err == nil) != (tt.want == "valid") || !strings.Contains(unwrapped(string(said)), tt.want) {
			t.Errorf("%s: %v, want %q\n%s", tt.vars, err, tt.want, said)
		}
	}
}

// unwrapped undoes the lines that Packer breaks its messages into.
func unwrapped(said string) string { return strings.Join(strings.Fields(said), " ") }
