// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package amitest bakes AMIs by the template in images, for tests: with the real
// Packer and the real plugin for Amazon, against moto and a guest on this machine.
package amitest

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
)

// Bake is the template as it is, baked with the real plugin for Amazon against moto.
// moto's instance is a record only: the guest is provisioned in its place, and lets
// in whoever has the key that Packer made for the bake.
type Bake struct {
	Env       []string // of Packer, whose plugins are installed
	Images    string   // the folder of the template
	Endpoint  string
	Port      int // of the guest's sshd, on the loopback
	EC2       *ec2.Client
	Manifest  string
	Artifacts string

	dir  string
	keys []string // that were there before
	sgs  []string
	amis []string
}

// New is a bake in the account of that client. Nothing is asked of it but what has to
// be told apart from what the bake makes.
func New(t *testing.T, env []string, images, endpoint string, client *ec2.Client) Bake {
	t.Helper()
	b := Bake{Env: env, Images: images, Endpoint: endpoint, EC2: client, dir: t.TempDir()}
	b.Manifest, b.Artifacts = filepath.Join(b.dir, "manifest.json"), filepath.Join(b.dir, "packer-manifest.json")
	b.keys, b.sgs = b.there(t)
	for _, i := range b.images(t) {
		b.amis = append(b.amis, aws.ToString(i.ImageId))
	}
	return b
}

// Need finds a program, or fails.
func Need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not on PATH; scripts/tool %s or \"make build\" builds it", program, program)
	}
	return path
}

// Packer bakes and returns what it said.
func (b Bake) Packer(t *testing.T, vars ...string) (string, error) {
	t.Helper()
	return b.PackerUntil(t, "", vars...)
}

// PackerUntil is Packer, which is interrupted once it has said those words, and then
// cleans up.
func (b Bake) PackerUntil(t *testing.T, words string, vars ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	args := []string{"build", "-color=false"}
	for _, v := range append([]string{
		"custom_endpoint_ec2=" + b.Endpoint, "ssh_host=127.0.0.1", "ssh_port=" + strconv.Itoa(b.Port),
		`ssh_from=["127.0.0.1/32"]`,
		"manifest_path=" + b.Manifest, "artifacts=" + b.Artifacts,
	}, vars...) {
		args = append(args, "-var", v)
	}
	cmd := exec.CommandContext(ctx, Need(t, "packer"), append(args, b.Images)...)
	cmd.Env, cmd.Dir = b.Env, b.dir
	// Packer runs itself once more, and leaves it to the terminal to interrupt that: a
	// group of its own stands in for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	group := func(s syscall.Signal) error { return syscall.Kill(-cmd.Process.Pid, s) }
	cmd.Cancel = func() error { return group(syscall.SIGKILL) }
	said := &listener{words: words, heard: func() { _ = group(syscall.SIGINT) }}
	cmd.Stdout, cmd.Stderr = said, said
	err := cmd.Run()
	return said.text.String(), err
}

// listener keeps a text, and tells once that some words were in it.
type listener struct {
	text  bytes.Buffer
	words string // or none
	heard func()
}

func (l *listener) Write(part []byte) (int, error) {
	n, err := l.text.Write(part)
	if l.words != "" && bytes.Contains(l.text.Bytes(), []byte(l.words)) {
		l.words = ""
		l.heard()
	}
	return n, err
}

// Made are the images of the account that the bake made.
func (b Bake) Made(t *testing.T) []types.Image {
	t.Helper()
	return slices.DeleteFunc(b.images(t), func(i types.Image) bool { return slices.Contains(b.amis, aws.ToString(i.ImageId)) })
}

func (b Bake) images(t *testing.T) []types.Image {
	t.Helper()
	out, err := b.EC2.DescribeImages(t.Context(), &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Images
}

// there are the key pairs and the security groups of the account.
func (b Bake) there(t *testing.T) (keys, groups []string) {
	t.Helper()
	pairs, err := b.EC2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range pairs.KeyPairs {
		keys = append(keys, aws.ToString(k.KeyName))
	}
	all, err := b.EC2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all.SecurityGroups {
		groups = append(groups, aws.ToString(g.GroupId))
	}
	slices.Sort(keys)
	slices.Sort(groups)
	return keys, groups
}

// CheckNothingLeft fails where what a bake makes for itself alone is not gone when
// it ends.
func (b Bake) CheckNothingLeft(t *testing.T) {
	t.Helper()
	keys, groups := b.there(t)
	if !slices.Equal(keys, b.keys) {
		t.Errorf("the key pairs are %q, and were %q", keys, b.keys)
	}
	if !slices.Equal(groups, b.sgs) {
		t.Errorf("the security groups are %q, and were %q", groups, b.sgs)
	}
	b.checkInstances(t)
}

// checkInstances: those that were launched answer metadata requests with a token
// only, were made of Canonical's image, and are no more.
func (b Bake) checkInstances(t *testing.T) {
	t.Helper()
	instances, err := b.EC2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
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
			if aws.ToString(i.ImageId) != mototest.Image {
				t.Errorf("instance %s was made of %s, which is not Canonical's", aws.ToString(i.InstanceId), aws.ToString(i.ImageId))
			}
		}
	}
}

// Share sums up what the provisioner's steps took by its own account.
func Share(said string) time.Duration {
	var sum time.Duration
	for _, m := range regexp.MustCompile(`vpnami: .*: done in ([0-9.]+) s`).FindAllStringSubmatch(said, -1) {
		if d, err := time.ParseDuration(m[1] + "s"); err == nil {
			sum += d
		}
	}
	return sum
}
