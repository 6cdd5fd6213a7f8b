// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build rehearse || aws

package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
	"github.com/vpnami/packer-plugin-vpnami/images/launch/launchtest"
	"github.com/vpnami/packer-plugin-vpnami/images/verify/leftovers"
)

// awsTarget launches by images/launch, in a VPC of its own: a gateway with an Elastic
// IP, and a bastion whose way out leads through it.
type awsTarget struct {
	cfg     aws.Config
	env     []string           // of programs that speak with AWS
	command launchtest.Command // a program on the operator's machine
	client  *lab.Host
	ami     string
	login   string
	mirror  string
	boots   time.Duration
	// network is the VPC's, tunnel that of the clients.
	network, tunnel string
	// folder is the launch as a later run finds it: the copy of the module with
	// Terraform's state, the authority, the keys.
	folder string
}

// awsLaunch is what a later run has to know of a launch: launch.json in its folder.
type awsLaunch struct {
	Name string            `json:"name"`
	Vars map[string]string `json:"vars"`
}

func (a awsTarget) at(names ...string) string {
	return filepath.Join(append([]string{a.folder}, names...)...)
}

func (a awsTarget) module(t *testing.T) launchtest.Module {
	t.Helper()
	m := launchtest.Copy(t, filepath.Join("..", "launch"), a.at("module"), a.env, a.command)
	// As the examples do: no half an hour without a word where EC2 has no capacity.
	if err := os.WriteFile(a.at("module", "provider.tf"), []byte("provider \"aws\" {\n  max_retries = 8\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

func (a awsTarget) launch(t *testing.T) {
	l, err := a.begin(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	a.makeKey(t, l.Name)
	if err := a.importKey(within(t, time.Minute), l.Name); err != nil {
		t.Fatal(err)
	}
	m := a.module(t)
	m.Init(t, ".")
	m.Apply(t, ".", l.Vars)
	a.issue(t)
	if out, err := a.pki(within(t, time.Minute), "publish", "--secret", l.Vars["secret"]); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// begin finds out how the AMI is to be launched and keeps it before anything is made,
// so that whatever is can be ended.
func (a awsTarget) begin(ctx context.Context) (awsLaunch, error) {
	name := leftovers.Name(time.Now())
	l := awsLaunch{name, map[string]string{
		"name": name, "ami": a.ami, "secret": leftovers.Secret(name), "secret_recovery_days": "0", "key_name": name,
		"vpc_cidr": a.network, "tunnel_network": a.tunnel,
		"tags": fmt.Sprintf("{%q=%q}", leftovers.RegionTag, a.cfg.Region),
		// As in the article: open for the world until the first boot is over.
		"ssh_from": `["0.0.0.0/0"]`,
	}}
	images, err := ec2.NewFromConfig(a.cfg).DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{a.ami}})
	if err == nil && len(images.Images) != 1 {
		err = errors.New("there is none")
	}
	if err != nil {
		return l, fmt.Errorf("looking for AMI %q, which VPNAMI_AMI names, AWS_REGION its region: %w", a.ami, err)
	}
	if images.Images[0].Architecture == types.ArchitectureValuesArm64 {
		l.Vars["instance_type"], l.Vars["step_instance_type"] = "t4g.small", "t4g.micro"
	}
	data, err := json.Marshal(l)
	if err == nil {
		err = errors.Join(os.RemoveAll(a.folder), os.MkdirAll(a.folder, 0o700), os.WriteFile(a.at("launch.json"), data, 0o600),
			os.WriteFile(a.at("passphrase"), []byte("only for the minutes of a test\n"), 0o600))
	}
	if err != nil {
		return l, fmt.Errorf("keeping what is to be launched: %w", err)
	}
	return l, nil
}

// issue makes an authority and two profiles.
func (a awsTarget) issue(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"init", "verify", "--server-name", "vpn.example.com"},
		{"issue", "client1", "client2", "--out", a.folder, "--remote", a.find(t).remote.String()},
	} {
		if out, err := a.pki(within(t, time.Minute), args...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

func (a awsTarget) makeKey(t *testing.T, name string) {
	t.Helper()
	said, err := a.command(within(t, time.Minute), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", a.at("key")).CombinedOutput()
	if err != nil {
		t.Fatalf("making a key: %v\n%s", err, said)
	}
}

func (a awsTarget) importKey(ctx context.Context, name string) error {
	public, err := os.ReadFile(a.at("key.pub"))
	if err == nil {
		_, err = ec2.NewFromConfig(a.cfg).ImportKeyPair(ctx, &ec2.ImportKeyPairInput{KeyName: &name, PublicKeyMaterial: public,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeKeyPair, Tags: []types.Tag{{Key: aws.String(leftovers.Tag), Value: &name}}}}})
	}
	if err != nil {
		return fmt.Errorf("giving EC2 the key: %w", err)
	}
	return nil
}

func (a awsTarget) deleteKey(ctx context.Context, name string) error {
	if _, err := ec2.NewFromConfig(a.cfg).DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: &name}); err != nil {
		return fmt.Errorf("deleting key pair %q: %w", name, err)
	}
	return nil
}

func (a awsTarget) read(t *testing.T) awsLaunch {
	t.Helper()
	var l awsLaunch
	data, err := os.ReadFile(a.at("launch.json"))
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err != nil {
		t.Fatalf("reading what was launched: %v; run without SKIP_launch", err)
	}
	return l
}

func (a awsTarget) find(t *testing.T) site {
	t.Helper()
	l := a.read(t)
	var out struct {
		Remote struct{ Value netip.Addr }
		Step   struct {
			Value struct {
				ID      string
				Private netip.Addr `json:"private_address"`
			}
		}
		Gateways struct {
			Value map[string]struct{ ID string }
		}
	}
	if err := json.Unmarshal([]byte(a.module(t).Must(t, ".", "output", "-json")), &out); err != nil {
		t.Fatal(err)
	}
	return site{
		gateway: out.Gateways.Value["a"].ID, step: out.Step.Value.ID, remote: out.Remote.Value, bastion: out.Step.Value.Private,
		login: a.login, profiles: a.folder, client: a.client, secret: l.Vars["secret"],
		mirror: a.mirror, out: out.Remote.Value, boots: a.boots,
	}
}

func (a awsTarget) console(ctx context.Context, instance string) (string, error) {
	api := ec2.NewFromConfig(a.cfg)
	out, err := api.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &instance, Latest: aws.Bool(true)})
	if err != nil {
		// Types that are not of Nitro have no latest output.
		out, err = api.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &instance})
	}
	if err != nil {
		return "", fmt.Errorf("reading the console of %s: %w", instance, err)
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	return string(text), err
}

func (a awsTarget) tags(ctx context.Context, instance string) (map[string]string, error) {
	return tagsOf(ctx, ec2.NewFromConfig(a.cfg), instance)
}

func tagsOf(ctx context.Context, api *ec2.Client, instance string) (map[string]string, error) {
	out, err := api.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{instance}})
	if err != nil {
		return nil, fmt.Errorf("reading the tags of %s: %w", instance, err)
	}
	tags := map[string]string{}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			for _, tag := range i.Tags {
				tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
			}
		}
	}
	return tags, nil
}

func (a awsTarget) pki(ctx context.Context, args ...string) (string, error) {
	if args[0] != "reach" {
		args = append(args, "--folder", a.at("authority"))
	}
	cmd := a.command(ctx, "vpnami-pki", args...)
	cmd.Env = append(append(os.Environ(), a.env...), "VPNAMI_PASSPHRASE_FILE="+a.at("passphrase"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("running vpnami-pki %s: %w", strings.Join(args, " "), err)
	}
	return out.String(), nil
}

// destroy ends what Terraform knows of, and the key. What this leaves, because it was
// killed or AWS would not, the sweep of the next run ends.
func (a awsTarget) destroy(t *testing.T) {
	l := a.read(t)
	m := a.module(t)
	m.Init(t, ".")
	m.Destroy(t, ".", l.Vars)
	// The test's own context may be over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := a.deleteKey(ctx, l.Name); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(a.folder); err != nil {
		t.Error(err)
	}
}
