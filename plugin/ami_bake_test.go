// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
)

// bakeAMI bakes the AMI of the guest by the template in images: once with a package
// that is nowhere, so that the provisioner fails, and then for good.
func bakeAMI(t *testing.T, env []string, images string, g guest) {
	t.Helper()
	b := newAMIBake(t, env, images, mototest.Start(t, filepath.Join(images, "lab", "canonical.json")))
	b.port = g.port

	said, err := b.packer(t, `packages=["vpnami-no-such-package"]`)
	if err == nil || !strings.Contains(said, "vpnami-no-such-package") {
		t.Fatalf("a bake with a package that is nowhere: %v\n%s", err, said)
	}
	b.checkNothingLeft(t)
	if made := b.made(t); len(made) != 0 {
		t.Errorf("a failed bake made an AMI: %v", made)
	}
	if _, err := os.Stat(b.artifacts); err == nil {
		t.Error("a failed bake says that it made something")
	}

	if said, err = b.packer(t, "commit=abc1234"); err != nil {
		t.Fatalf("baking the AMI: %v\n%s", err, said)
	}
	t.Logf("share of the provisioner: %s", provisionerShare(said))
	b.checkNothingLeft(t)
	if launched, err := b.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}); err != nil || len(launched.Reservations) != 2 {
		t.Errorf("two bakes launched %v, %v", launched, err)
	}
	b.checkAMI(t)
	g.checkBaked(t, b.manifest)
	b.checkPromoted(t)
}

// checkAMI: it is registered, and says what it is.
func (b amiBake) checkAMI(t *testing.T) {
	t.Helper()
	made := b.made(t)
	if len(made) != 1 {
		t.Fatalf("the bake made %d AMIs", len(made))
	}
	i := made[0]
	if !regexp.MustCompile(`^vpnami-0\.1\.0-noble-amd64-[0-9]{8}T[0-9]{6}Z$`).MatchString(aws.ToString(i.Name)) {
		t.Errorf("its name is %q", aws.ToString(i.Name))
	}
	tags := map[string]string{}
	for _, tag := range i.Tags {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	for key, want := range map[string]string{
		"Name": aws.ToString(i.Name), "vpnami:version": "0.1.0", "vpnami:commit": "abc1234", "vpnami:release": "noble",
		"vpnami:architecture": "amd64", "vpnami:source-ami": canonicals,
		"vpnami:source-ami-name": "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261119",
		"vpnami:build":           strings.TrimPrefix(aws.ToString(i.Name), "vpnami-0.1.0-noble-amd64-"),
	} {
		if tags[key] != want {
			t.Errorf("its tag %s is %q, want %q", key, tags[key], want)
		}
	}
	var manifest struct {
		Source struct {
			Image string
			Name  string `json:"image_name"`
		}
	}
	data, err := os.ReadFile(b.manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &manifest); err != nil || manifest.Source.Image != canonicals || manifest.Source.Name != tags["vpnami:source-ami-name"] {
		t.Errorf("the manifest names the source %+v, %v", manifest.Source, err)
	}
	if data, err = os.ReadFile(b.artifacts); err != nil || !bytes.Contains(data, []byte(amiRegion+":"+aws.ToString(i.ImageId))) {
		t.Errorf("the artifacts are %s, %v", data, err)
	}
}

// checkPromoted: what the bake wrote is enough to promote it by.
func (b amiBake) checkPromoted(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"promote", "--artifacts", b.artifacts, "--apply"}, {"list"}} {
		cmd := exec.Command(need(t, "vpnami-images"), args...)
		cmd.Env = b.env
		said, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(said), "latest") {
			t.Errorf("vpnami-images %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
}

// provisionerShare sums up what the provisioner's steps took by its own account.
func provisionerShare(said string) time.Duration {
	var sum time.Duration
	for _, m := range regexp.MustCompile(`vpnami: .*: done in ([0-9.]+) s`).FindAllStringSubmatch(said, -1) {
		if d, err := time.ParseDuration(m[1] + "s"); err == nil {
			sum += d
		}
	}
	return sum
}
