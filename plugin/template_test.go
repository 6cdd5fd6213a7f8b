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
		vars string   // apart by |
		want []string // of one run, which takes seconds
	}{
		{"", []string{"is valid"}},
		{"ubuntu=24.04|architecture=arm64|ssh_interface=session_manager|instance_profile=ssm|deprecate_at=2099-06-30T00:00:00Z|deregistration_protection=true", []string{"is valid"}},
		{`ubuntu=26.04|architecture=amd64|copy_to=["eu-west-1"]|encrypt=true|share_with=["111122223333"]|kms_key=alias/ami`, []string{"is valid"}},
		{`ubuntu=26.04|architecture=arm64|encrypt=true|kms_key=alias/ami|imds_support=v2.0|sources=["source.vpnami-bootstrap.local", "source.amazon-ebs.ubuntu"]`, []string{"is valid"}},

		{"ubuntu=22.04|architecture=x86_64|source_owners=[]|volume_size=4|imds_support=v1.0|ssh_interface=serial|version=latest", []string{
			"The image can be made of Ubuntu 24.04 or 26.04.", "The architecture can be amd64 or arm64.", "an owner must be given",
			"do not fit on less than 8 GiB", `It can be "v2.0" or null`, "It can be public_ip", "three numbers with dots"}},
		{"deprecate_at=soon", []string{"deprecate_at is not a valid time"}},
		{"manifest_path=/nowhere/manifest.json", []string{"its folder is not there"}},
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
		if (err == nil) != (tt.want[0] == "is valid") {
			t.Errorf("%s: %v\n%s", tt.vars, err, said)
		}
		for _, want := range tt.want {
			if !strings.Contains(unwrapped(string(said)), want) {
				t.Errorf("%s: it does not say %q\n%s", tt.vars, want, said)
			}
		}
	}
}

// unwrapped undoes the lines that Packer breaks its messages into.
func unwrapped(said string) string { return strings.Join(strings.Fields(said), " ") }
