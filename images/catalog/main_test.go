// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vpnami/packer-plugin-vpnami/images/lab/mototest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vpnami-images": main})
}

// regions gives each transcript one of its own, for they share the stand-in.
var regions = map[string]string{
	"list": "eu-west-1", "promote": "eu-west-2", "rollback": "eu-west-3", "share": "eu-north-1",
	"deprecate": "eu-central-1", "sweep": "us-west-1", "leftovers": "us-west-2", "usage": "us-east-2", "unfinished": "ap-northeast-1",
}

// What a person types and reads, against moto.
func TestTranscripts(t *testing.T) {
	endpoint := mototest.Start(t)
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: os.Getenv("VPNAMI_UPDATE") == "1",
		Setup: func(env *testscript.Env) error {
			name := filepath.Base(env.WorkDir)
			region := regions[strings.TrimPrefix(name, "script-")]
			if region == "" {
				return fmt.Errorf("the transcript %q has no region", name)
			}
			for name, value := range mototest.Environment(endpoint, region) {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"made": makeCommand, "there": thereCommand},
		// An id is the stand-in's choice.
	})
}

// makeCommand makes a thing in the account and puts its id into a variable:
//
//	made VARIABLE ami|instance|template|key|group|volume|snapshot [ami=ID] [KEY=TAG]...
//	made VARIABLE copied ami=ID                  a snapshot, as copying that AMI makes it
func makeCommand(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	api := mototest.EC2(ts.Getenv("AWS_ENDPOINT_URL"), ts.Getenv("AWS_REGION"))
	var tags []types.Tag
	image := ""
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		if key == "ami" {
			image = value
			continue
		}
		tags = append(tags, types.Tag{Key: aws.String("vpnami:" + key), Value: aws.String(value)})
	}
	id, err := makeThing(ctx, api, args[1], args[0], image)
	ts.Check(err)
	if len(tags) > 0 {
		_, err = api.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: tags})
		ts.Check(err)
	}
	ts.Setenv(args[0], id)
}

// thereCommand tells whether the account has a snapshot:
//
//	[!] there ID
func thereCommand(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	api := mototest.EC2(ts.Getenv("AWS_ENDPOINT_URL"), ts.Getenv("AWS_REGION"))
	out, err := api.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("snapshot-id"), Values: args}}})
	ts.Check(err)
	if there := len(out.Snapshots) == 1; there == neg {
		ts.Fatalf("%s is there: %v", args[0], there)
	}
}

func makeThing(ctx context.Context, api *ec2.Client, kind, name, image string) (string, error) {
	switch kind {
	case "ami":
		out, err := api.RegisterImage(ctx, &ec2.RegisterImageInput{Name: aws.String(name), Architecture: types.ArchitectureValuesX8664})
		if err != nil {
			return "", err
		}
		return *out.ImageId, nil
	case "instance":
		out, err := api.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String(image), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
		if err != nil {
			return "", err
		}
		return *out.Instances[0].InstanceId, nil
	case "template":
		out, err := api.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{LaunchTemplateName: aws.String(name),
			LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: aws.String(image)}})
		if err != nil {
			return "", err
		}
		// A later version names another: the first one counts all the same.
		_, err = api.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{LaunchTemplateId: out.LaunchTemplate.LaunchTemplateId,
			LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: aws.String("ami-00000000000000000")}})
		return *out.LaunchTemplate.LaunchTemplateId, err
	case "key":
		out, err := api.CreateKeyPair(ctx, &ec2.CreateKeyPairInput{KeyName: aws.String(name)})
		if err != nil {
			return "", err
		}
		return *out.KeyPairId, nil
	case "group":
		out, err := api.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: aws.String(name), Description: aws.String("left")})
		if err != nil {
			return "", err
		}
		return *out.GroupId, nil
	case "volume":
		out, err := api.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(api.Options().Region + "a"), Size: aws.Int32(8)})
		if err != nil {
			return "", err
		}
		return *out.VolumeId, nil
	case "snapshot", "copied":
		volume, err := makeThing(ctx, api, "volume", name, image)
		if err != nil {
			return "", err
		}
		in := &ec2.CreateSnapshotInput{VolumeId: aws.String(volume)}
		if kind == "copied" {
			in.Description = aws.String("Copied for DestinationAmi " + image + " from SourceAmi ami-1 for SourceSnapshot snap-1. Task created on 1,795,680,720,000.")
		}
		out, err := api.CreateSnapshot(ctx, in)
		if err != nil {
			return "", err
		}
		return *out.SnapshotId, nil
	}
	return "", fmt.Errorf("made: there is no %q", kind)
}
