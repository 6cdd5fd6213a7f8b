// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhichAMIIsVerified: what Packer lists leads to one AMI and its region, or to a
// sentence that tells why it does not, before anything is built or launched.
func TestWhichAMIIsVerified(t *testing.T) {
	const (
		one   = `{"builds": [{"builder_type": "amazon-ebs", "artifact_id": "eu-west-1:ami-0a", "packer_run_uuid": "2"}], "last_run_uuid": "2"}`
		two   = `{"builds": [{"builder_type": "amazon-ebs", "artifact_id": "eu-west-1:ami-0a,us-east-1:ami-0b", "packer_run_uuid": "2"}], "last_run_uuid": "2"}`
		local = `{"builds": [{"builder_type": "amazon-ebs", "artifact_id": "eu-west-1:ami-0a", "packer_run_uuid": "1"}, {"builder_type": "vpnami-bootstrap", "artifact_id": "x", "packer_run_uuid": "2"}], "last_run_uuid": "2"}`
	)
	programs := t.TempDir()
	for name, text := range map[string]string{
		"terraform": "exit 9", "openvpn": "exit 9", "ssh": "exit 9",
		"make": `echo "$AWS_REGION $VPNAMI_AMI"; exit 3`, // what comes after the choice
	} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		manifest, region string
		exit             int
		says             string
	}{
		"one AMI":                              {one, "", 3, "eu-west-1 ami-0a"},
		"one AMI, whatever the region":         {one, "us-east-1", 3, "eu-west-1 ami-0a"},
		"of two that of the region":            {two, "us-east-1", 3, "us-east-1 ami-0b"},
		"of two none, without a region":        {two, "", 2, "several regions (eu-west-1:ami-0a us-east-1:ami-0b): set AWS_REGION"},
		"of two none, in a third region":       {two, "ap-northeast-1", 2, "no AMI in ap-northeast-1, which is AWS_REGION, but eu-west-1:ami-0a us-east-1:ami-0b"},
		"the last bake was of a local image":   {local, "eu-west-1", 2, "lists no AMI: its last bake made something else"},
		"a file of something else":             {"ami-0a", "eu-west-1", 2, "is no list of artifacts"},
		"a list of something else":             {`{"amis": []}`, "eu-west-1", 2, "is no list of artifacts"},
		"of two none, in a region's beginning": {two, "us-east", 2, "no AMI in us-east,"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "packer-manifest.json")
			if err := os.WriteFile(file, []byte(c.manifest), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "./verify-aws", file)
			cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "AWS_REGION="+c.region)
			said, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != c.exit || !strings.Contains(string(said), c.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s", got, c.exit, c.says, said)
			}
		})
	}
}
