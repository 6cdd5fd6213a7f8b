// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build aws

package verify

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const (
	// awsTag is on everything that this makes; its value is when it was made.
	awsTag    = "vpnami:verify"
	awsLayout = "20060102T150405Z"
	// awsAbandoned: a run ends within awsBoot and a termination.
	awsAbandoned = time.Hour
	// awsBoot is how long a launch may take to its first line of result: EC2
	// brings the console's text minutes late on some types.
	awsBoot = 15 * time.Minute
	awsPoll = 10 * time.Second
	awsEnd  = 10 * time.Minute
)

// awsState is what one stage leaves for the next.
type awsState struct {
	AMI      string `json:"ami"`
	Instance string `json:"instance"`
}

// TestAWS boots an AMI on a real account as a bastion, which needs no secret, no role
// and no way in, and hears from its console what its first boot says. Stages are left
// out by SKIP_launch=1, SKIP_verify=1, SKIP_destroy=1; what one made is in the file
// of VPNAMI_AWS_STATE for a later run of the next.
//
//	VPNAMI_AMI      the AMI
//	VPNAMI_SUBNET   the subnet; default: one of the default VPC
func TestAWS(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), awsBoot+2*awsEnd)
	defer cancel()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		t.Fatal(err)
	}
	api := ec2.NewFromConfig(cfg)
	file := os.Getenv("VPNAMI_AWS_STATE")
	if file == "" {
		t.Fatal("VPNAMI_AWS_STATE is not set; \"make verify-aws\" sets it")
	}
	sweepAWS(ctx, t, api)

	state := awsState{AMI: os.Getenv("VPNAMI_AMI")}
	if skipped("launch") {
		state = readAWSState(t, file)
	} else {
		state.Instance = launchOnAWS(ctx, t, api, state.AMI)
		writeAWSState(t, file, state)
	}
	if !skipped("destroy") {
		// Whatever became of the stages in between.
		t.Cleanup(func() { destroyOnAWS(t, api, state.Instance) })
	}
	if !skipped("verify") {
		verifyOnAWS(ctx, t, api, state)
	}
}

func skipped(stage string) bool { return os.Getenv("SKIP_"+stage) != "" }

func readAWSState(t *testing.T, file string) awsState {
	t.Helper()
	var s awsState
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil || s.Instance == "" {
		t.Fatalf("reading what an earlier stage launched: %v; run without SKIP_launch", err)
	}
	return s
}

func writeAWSState(t *testing.T, file string, s awsState) {
	t.Helper()
	data, err := json.Marshal(s)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sweepAWS ends what earlier runs left when they were killed.
func sweepAWS(ctx context.Context, t *testing.T, api *ec2.Client) {
	t.Helper()
	pages := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag-key"), Values: []string{awsTag}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}},
	}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatalf("looking for what earlier runs left: %v", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				for _, tag := range i.Tags {
					made, err := time.Parse(awsLayout, aws.ToString(tag.Value))
					if aws.ToString(tag.Key) == awsTag && err == nil && time.Since(made) > awsAbandoned {
						t.Logf("an earlier run left %s", aws.ToString(i.InstanceId))
						destroyOnAWS(t, api, aws.ToString(i.InstanceId))
					}
				}
			}
		}
	}
}

func launchOnAWS(ctx context.Context, t *testing.T, api *ec2.Client, ami string) string {
	t.Helper()
	images, err := api.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{ami}})
	if err != nil || len(images.Images) != 1 {
		t.Fatalf("looking for AMI %q: %v; VPNAMI_AMI names it", ami, err)
	}
	kind := types.InstanceTypeT3Small
	if images.Images[0].Architecture == types.ArchitectureValuesArm64 {
		kind = types.InstanceTypeT4gSmall
	}
	tags := []types.Tag{{Key: aws.String("Name"), Value: aws.String("vpnami-verify")}, {Key: aws.String(awsTag), Value: aws.String(time.Now().UTC().Format(awsLayout))}}
	in := &ec2.RunInstancesInput{
		ImageId: aws.String(ami), InstanceType: kind, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		UserData: aws.String(base64.StdEncoding.EncodeToString([]byte("#vpnami\nrole: step\n"))),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired, HttpEndpoint: types.InstanceMetadataEndpointStateEnabled,
			HttpPutResponseHopLimit: aws.Int32(1)},
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate,
		TagSpecifications:                 []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: tags}, {ResourceType: types.ResourceTypeVolume, Tags: tags}},
	}
	if subnet := os.Getenv("VPNAMI_SUBNET"); subnet != "" {
		in.SubnetId = aws.String(subnet)
	}
	out, err := api.RunInstances(ctx, in)
	if err != nil {
		t.Fatalf("launching AMI %q: %v", ami, err)
	}
	id := aws.ToString(out.Instances[0].InstanceId)
	t.Logf("launched %s of %s as %s", id, ami, kind)
	return id
}

// verifyOnAWS waits for the first boot's own word.
func verifyOnAWS(ctx context.Context, t *testing.T, api *ec2.Client, s awsState) {
	t.Helper()
	within := awsBoot
	if d, err := time.ParseDuration(os.Getenv("VPNAMI_AWS_WITHIN")); err == nil {
		within = d
	}
	began, text := time.Now(), ""
	for time.Since(began) < within {
		out, err := api.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: aws.String(s.Instance), Latest: aws.Bool(true)})
		if err != nil {
			// Types that are not of Nitro have no latest output.
			out, err = api.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: aws.String(s.Instance)})
		}
		if err != nil {
			t.Fatalf("reading the console of %s: %v", s.Instance, err)
		}
		if data, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output)); err == nil {
			text = string(data)
		}
		if line, found := resultLine(text); found {
			t.Logf("%s after %s: %s", s.Instance, time.Since(began).Round(time.Second), line)
			if !strings.HasPrefix(line, "ready: role=step ") {
				t.Errorf("the first boot says %q", line)
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-time.After(awsPoll):
		}
	}
	t.Fatalf("the console of %s tells of no result within %s; it is:\n%s", s.Instance, within, text)
}

// resultLine finds the line of the console that ends a first boot, without the
// program's name.
func resultLine(console string) (string, bool) {
	for line := range strings.Lines(console) {
		_, said, found := strings.Cut(line, "vpnami: ")
		state, _, _ := strings.Cut(said, ":")
		if found && (state == "ready" || state == "waiting" || state == "refused" || state == "degraded") {
			return strings.TrimSpace(said), true
		}
	}
	return "", false
}

func TestResultLine(t *testing.T) {
	for console, want := range map[string]string{
		"[    2.1] vpnami: identify (12ms)\r\n[    2.4] vpnami: ready: role=step took=0.3s\r\n": "ready: role=step took=0.3s",
		"vpnami: waiting: reading the secret -- publish it\n":                                   "waiting: reading the secret -- publish it",
		"vpnami: warning: the hop limit is 2\nvpnami: seal failed: no answer\n":                 "",
		"Linux version 6.8.0\n": "",
		"":                      "",
	} {
		if got, found := resultLine(console); got != want || found != (want != "") {
			t.Errorf("%q: %q, %v; want %q", console, got, found, want)
		}
	}
}

func destroyOnAWS(t *testing.T, api *ec2.Client, id string) {
	t.Helper()
	// The test's own context is over in a clean-up.
	ctx, cancel := context.WithTimeout(context.Background(), awsEnd)
	defer cancel()
	_, err := api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	if err == nil {
		err = ec2.NewInstanceTerminatedWaiter(api).Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, awsEnd)
	}
	if err != nil {
		t.Error(fmt.Errorf("terminating %s, which bears the tag %s: %w", id, awsTag, err))
		return
	}
	t.Logf("terminated %s", id)
}
