// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package launch

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/images/launch/launchtest"
)

// startMoto starts the stand-in for AWS and returns what Terraform needs in its
// environment to use it.
func startMoto(t *testing.T) []string {
	t.Helper()
	var env []string
	for name, value := range mototest.Environment(mototest.Start(t), "ap-northeast-1") {
		env = append(env, name+"="+value)
	}
	return env
}

// TestModule reads what the module plans, in each of its forms, and has Terraform
// judge it.
func TestModule(t *testing.T) {
	launchtest.Need(t)
	m := launchtest.Copy(t, ".", t.TempDir(), startMoto(t), exec.CommandContext)
	if out, code := m.Run(t, ".", "fmt", "-check", "-diff", "-recursive"); code != 0 {
		t.Errorf("terraform fmt:\n%s", out)
	}
	m.Init(t, ".")
	m.Must(t, ".", "validate", "-no-color")
	ami := "-var=ami=" + mototest.Image
	for _, c := range []struct {
		name, folder string
		vars         []string
	}{
		{"one gateway in a new VPC, routed", ".", []string{ami, "-var=nat=routed", "-var=tunnel_network=10.8.0.0/24", `-var=ssh_from=["198.51.100.0/24"]`}},
		{"slots, and keys of one's own", ".", []string{ami, `-var=slots={a="10.0.254.0/24",b="10.0.255.0/24"}`, "-var=egress=nat-gateway",
			"-var=secret_kms_key_arn=arn:aws:kms:ap-northeast-1:123456789012:key/11111111-2222-3333-4444-555555555555"}},
		{"office-lan", "examples/office-lan", []string{ami, "-var=key_name=key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.folder != "." {
				m.Init(t, c.folder)
			}
			file := filepath.Join(t.TempDir(), "plan")
			m.Must(t, c.folder, append([]string{"plan", "-no-color", "-input=false", "-out=" + file}, c.vars...)...)
			show, code := m.Run(t, c.folder, "show", "-json", file)
			if code != 0 {
				t.Fatal(show)
			}
			findings, err := Lint([]byte(show), 1194)
			if err != nil {
				t.Fatal(err)
			}
			if len(findings) > 0 {
				t.Errorf("the launch has what it must not have:\n%s", strings.Join(findings, "\n"))
			}
			if findings, err = Unwatched([]byte(show), "vpn", signals(t)); err != nil || len(findings) > 0 {
				t.Errorf("the launch calls nobody: %v\n%s", err, strings.Join(findings, "\n"))
			}
		})
	}
	t.Run("terraform test", func(t *testing.T) {
		if out, code := m.Run(t, ".", "test", "-no-color"); code != 0 {
			t.Errorf("exit code %d:\n%s", code, out)
		}
	})
}
