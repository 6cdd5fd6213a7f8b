// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
)

const (
	amiRegion = "ap-northeast-1"
	// What images/lab/canonical.json has of Ubuntu 24.04 on amd64; a stranger's
	// of the same name is beside it.
	canonicals = "ami-0c0de240404a64000"
)

// amiBake is the template of images as it is, baked with the real plugin for Amazon
// against moto. moto's instance is a record only: the guest is provisioned in its
// place, and lets in whoever has the key that Packer made for the bake.
type amiBake struct {
	env       []string
	dir       string
	images    string // the folder of the template
	endpoint  string
	port      int // of the guest
	ec2       *ec2.Client
	manifest  string
	artifacts string
}

func newAMIBake(t *testing.T, env []string, images, endpoint string) amiBake {
	t.Helper()
	b := amiBake{env: env, dir: t.TempDir(), images: images, endpoint: endpoint, ec2: mototest.EC2(endpoint, amiRegion)}
	b.manifest, b.artifacts = filepath.Join(b.dir, "manifest.json"), filepath.Join(b.dir, "packer-manifest.json")
	for name, value := range mototest.Environment(endpoint, amiRegion) {
		b.env = append(b.env, name+"="+value)
	}
	installAmazon(t, b.env)
	return b
}

func (b amiBake) packer(t *testing.T, vars ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	args := []string{"build", "-color=false"}
	for _, v := range append([]string{
		"custom_endpoint_ec2=" + b.endpoint, "ssh_host=127.0.0.1", "ssh_port=" + strconv.Itoa(b.port),
		`ssh_from=["127.0.0.1/32"]`,
		"manifest_path=" + b.manifest, "artifacts=" + b.artifacts,
	}, vars...) {
		args = append(args, "-var", v)
	}
	cmd := exec.CommandContext(ctx, need(t, "packer"), append(args, b.images)...)
	cmd.Env, cmd.Dir = b.env, b.dir
	said, err := cmd.CombinedOutput()
	return string(said), err
}

// made are the images of the account; Canonical's are not.
func (b amiBake) made(t *testing.T) []types.Image {
	t.Helper()
	out, err := b.ec2.DescribeImages(t.Context(), &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Images
}

// checkNothingLeft: what a bake makes for itself alone is gone when it ends.
func (b amiBake) checkNothingLeft(t *testing.T) {
	t.Helper()
	keys, err := b.ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
	if err != nil || len(keys.KeyPairs) != 0 {
		t.Errorf("key pairs left: %v %v", keys, err)
	}
	groups, err := b.ec2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.SecurityGroups {
		if aws.ToString(g.GroupName) != "default" {
			t.Errorf("a security group is left: %s", aws.ToString(g.GroupName))
		}
	}
	b.checkInstances(t)
}

// checkInstances: those that were launched answer metadata requests with a token
// only, were made of Canonical's image, and are no more.
func (b amiBake) checkInstances(t *testing.T) {
	t.Helper()
	instances, err := b.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range instances.Reservations {
		for _, i := range r.Instances {
			if i.State.Name != types.InstanceStateNameTerminated {
				t.Errorf("instance %s is %s", aws.ToString(i.InstanceId), i.State.Name)
			}
			if o := i.MetadataOptions; o == nil || o.HttpTokens != types.HttpTokensStateRequired || aws.ToInt32(o.HttpPutResponseHopLimit) != 1 {
				t.Errorf("instance %s answers metadata requests so: %+v", aws.ToString(i.InstanceId), o)
			}
			if aws.ToString(i.ImageId) != canonicals {
				t.Errorf("instance %s was made of %s, which is not Canonical's", aws.ToString(i.InstanceId), aws.ToString(i.ImageId))
			}
		}
	}
}
