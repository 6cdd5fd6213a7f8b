// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse

package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
	"github.com/vpnami/packer-plugin-vpnami/images/launch/launchtest"
)

// TestBroken: an apply that AWS refuses names the reason, what it has made by then is
// known, the next apply goes on from there, and a destroy leaves nothing.
func TestBroken(t *testing.T) {
	launchtest.Need(t)
	moto := mototest.Start(t)
	folder := t.TempDir()
	m := launchtest.Copy(t, ".", folder, mototest.Environ(moto, "ap-northeast-1"), exec.CommandContext)
	// Where EC2 has no capacity the provider asks 25 times, longer apart each time, and
	// says "still creating" for half an hour.
	if err := os.WriteFile(filepath.Join(folder, "provider.tf"), []byte("provider \"aws\" {\n  max_retries = 2\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Init(t, ".")
	vars := map[string]string{"ami": mototest.Image, "secret_recovery_days": "0"}
	apply := append([]string{"apply", "-no-color", "-input=false", "-auto-approve"}, launchtest.Variables(vars)...)
	refused := func(code string) []string {
		return []string{"AWS_ENDPOINT_URL=" + mototest.Refusing(t, moto, "RunInstances", code)}
	}
	for _, c := range []struct {
		what string
		env  []string
		vars []string
		want string
	}{
		{"no credentials", []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}, nil, "No valid credential sources found"},
		{"no such region", []string{"AWS_REGION=eu-nowhere-1"}, nil, "invalid AWS Region: eu-nowhere-1"},
		{"a secret's name with a star", nil, []string{"-var=secret=vpn/*"}, "secret: want words of letters"},
		{"no capacity", refused("InsufficientInstanceCapacity"), nil, "InsufficientInstanceCapacity"},
		{"quota", refused("VcpuLimitExceeded"), nil, "VcpuLimitExceeded"},
		{"no capacity for a slot", []string{"AWS_ENDPOINT_URL=" + mototest.Failing(t, moto, "We currently do not have sufficient capacity")},
			[]string{`-var=slots={a="10.0.255.0/24"}`}, "We currently do not have sufficient capacity"},
		{"an AMI of another region", refused("InvalidAMIID.NotFound"), nil, "InvalidAMIID.NotFound"},
	} {
		said, code := m.With(c.env...).Run(t, ".", append(apply[:len(apply):len(apply)], c.vars...)...)
		if plain := unwrapped(said); code == 0 || !strings.Contains(plain, c.want) {
			t.Fatalf("%s: exit code %d, want %q:\n%s", c.what, code, c.want, said)
		}
		t.Logf("%s: %s", c.what, sentence(said, c.want))
	}
	m.Apply(t, ".", vars)
	m.Empty(t, ".", vars)
	m.Destroy(t, ".", vars)
	nothingLeft(t, m, mototest.EC2(moto, "ap-northeast-1"))
}

// unwrapped undoes Terraform's line breaks.
func unwrapped(said string) string { return strings.Join(strings.Fields(said), " ") }

// sentence is the line that has the words, or what begins with them.
func sentence(said, words string) string {
	for line := range strings.Lines(said) {
		if strings.Contains(line, words) {
			return strings.TrimSpace(line)
		}
	}
	return words
}

func nothingLeft(t *testing.T, m launchtest.Module, client *ec2.Client) {
	t.Helper()
	if left := strings.TrimSpace(m.Must(t, ".", "state", "list")); left != "" {
		t.Errorf("the state still has:\n%s", left)
	}
	vpcs, err := client.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vpcs.Vpcs {
		if !aws.ToBool(v.IsDefault) {
			t.Errorf("VPC %s is left", aws.ToString(v.VpcId))
		}
	}
	addresses, err := client.DescribeAddresses(t.Context(), &ec2.DescribeAddressesInput{})
	if err != nil || len(addresses.Addresses) != 0 {
		t.Errorf("addresses are left: %v %v", addresses, err)
	}
}
