// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package amitest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
)

// Region is where the AMI is made.
const Region = "ap-northeast-1"

// CheckAMI fails where the AMI is not registered or does not say what it is: baked
// with commit=abc1234.
func (b Bake) CheckAMI(t *testing.T) types.Image {
	t.Helper()
	made := b.Made(t)
	if len(made) != 1 {
		t.Fatalf("the bake made %d AMIs", len(made))
	}
	i := made[0]
	if !regexp.MustCompile(`^vpnami-0\.1\.0-noble-amd64-[0-9]{8}T[0-9]{6}Z$`).MatchString(aws.ToString(i.Name)) {
		t.Errorf("its name is %q", aws.ToString(i.Name))
	}
	tags := values(i.Tags)
	for key, want := range map[string]string{
		"Name": aws.ToString(i.Name), "vpnami:version": "0.1.0", "vpnami:commit": "abc1234", "vpnami:release": "noble",
		"vpnami:architecture": "amd64", "vpnami:source-ami": mototest.Image,
		"vpnami:source-ami-name": "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261119",
		"vpnami:build":           strings.TrimPrefix(aws.ToString(i.Name), "vpnami-0.1.0-noble-amd64-"),
		// By which the bake's role may change and remove it.
		"vpnami:bake": aws.ToString(i.Name),
	} {
		if tags[key] != want {
			t.Errorf("its tag %s is %q, want %q", key, tags[key], want)
		}
	}
	snapshots, err := b.EC2.DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{SnapshotIds: []string{aws.ToString(i.BlockDeviceMappings[0].Ebs.SnapshotId)}})
	if err != nil || len(snapshots.Snapshots) != 1 || values(snapshots.Snapshots[0].Tags)["vpnami:bake"] != aws.ToString(i.Name) {
		t.Errorf("its snapshot does not bear the bake's tag: %+v, %v", snapshots, err)
	}
	var manifest struct {
		Source struct {
			Image string
			Name  string `json:"image_name"`
		}
	}
	data, err := os.ReadFile(b.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &manifest); err != nil || manifest.Source.Image != mototest.Image || manifest.Source.Name != tags["vpnami:source-ami-name"] {
		t.Errorf("the manifest names the source %+v, %v", manifest.Source, err)
	}
	if data, err = os.ReadFile(b.Artifacts); err != nil || !bytes.Contains(data, []byte(Region+":"+aws.ToString(i.ImageId))) {
		t.Errorf("the artifacts are %s, %v", data, err)
	}
	return i
}

func values(tags []types.Tag) map[string]string {
	all := map[string]string{}
	for _, tag := range tags {
		all[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return all
}

// CheckPromoted fails where what the bake wrote is not enough to promote it by.
func (b Bake) CheckPromoted(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"promote", "--artifacts", b.Artifacts, "--apply"}, {"list"}} {
		cmd := exec.CommandContext(t.Context(), Need(t, "vpnami-images"), args...)
		cmd.Env = b.Env
		said, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(said), "latest") {
			t.Errorf("vpnami-images %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
}
