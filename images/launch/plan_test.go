// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package launch

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/images/launch/launchtest"
)

const region = "ap-northeast-1"

// TestModule reads what the module plans, in each of its forms, and has Terraform
// judge it.
func TestModule(t *testing.T) {
	launchtest.Need(t)
	endpoint := mototest.Start(t)
	m := launchtest.Copy(t, ".", t.TempDir(), mototest.Environ(endpoint, region), exec.CommandContext)
	if out, code := m.Run(t, ".", "fmt", "-check", "-diff", "-recursive"); code != 0 {
		t.Errorf("terraform fmt:\n%s", out)
	}
	m.Init(t, ".")
	m.Must(t, ".", "validate", "-no-color")
	ami := "-var=ami=" + mototest.Image
	var planned Plan
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
			if planned.Planned.Root.Resources == nil {
				if err := json.Unmarshal([]byte(show), &planned); err != nil {
					t.Fatal(err)
				}
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
	// Last, since nobody may do anything any more that no policy allows.
	t.Run("of the secrets, a launch reaches its own alone", func(t *testing.T) {
		reachesItsOwn(t, endpoint, planned)
	})
}

// reachesItsOwn has whoever has a launch's rights read its secrets, and those of
// launches whose names begin with this one's.
func reachesItsOwn(t *testing.T, endpoint string, planned Plan) {
	t.Helper()
	operator := mototest.EnforceIAM(t, endpoint)
	client := func(as mototest.Keys) *secretsmanager.Client {
		return secretsmanager.New(secretsmanager.Options{Region: region, BaseEndpoint: &endpoint, Credentials: as.Provider()})
	}
	own := map[string]bool{
		"vpn/office/server": true, "vpn/office/access": true, "vpn/office/access/000": true, "vpn/office/access/255": true,
		"vpn/office/access/server": false, "vpn/office/access/access": false, "vpn/office/access/access/000": false,
		"vpn/office/access/000/server": false, "vpn/office/access-two/server": false, "vpn/office/server-two/server": false,
		"vpn/office/server-backup": false, "vpn/office/two/server": false, "vpn/office-two/server": false,
	}
	for name := range own {
		if _, err := client(operator).CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, address := range []string{"aws_iam_role_policy.gateway", "aws_iam_policy.publisher"} {
		at := slices.IndexFunc(planned.Planned.Root.Resources, func(r Resource) bool { return r.Address == address })
		if at < 0 {
			t.Fatalf("the plan has no %s", address)
		}
		policy, _ := planned.Planned.Root.Resources[at].Values["policy"].(string)
		user := mototest.User(t, mototest.IAM(endpoint, operator), strings.ReplaceAll(address, ".", "-"), policy)
		for name, reached := range own {
			_, err := client(user).GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &name})
			if (err == nil) != reached || err != nil && !strings.Contains(err.Error(), "AccessDenied") {
				t.Errorf("%s reads %s: %v; want %v", address, name, err, reached)
			}
		}
	}
}
