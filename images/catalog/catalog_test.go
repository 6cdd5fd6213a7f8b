// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// fleet is n images of a line, baked weekly, the newest first: a1 is the newest.
func fleet(n int) []image {
	var all []image
	for k := range n {
		made := now.Add(-time.Duration(k) * 7 * 24 * time.Hour)
		all = append(all, image{ID: "a" + string(rune('1'+k)), Release: "noble", Architecture: "amd64", Version: "0.1.0",
			Build: made.Format(buildLayout), Created: made, State: "available"})
	}
	return all
}

// unfinish makes the newest image one of a bake that began then and did not end.
func unfinish(s *seen, began time.Time) {
	s.images[0].Unfinished, s.images[0].Build = true, began.Format(buildLayout)
}

func gone(verdicts []verdict) string {
	var ids []string
	for _, v := range verdicts {
		if len(v.Stays) == 0 {
			ids = append(ids, v.ID)
		}
	}
	return strings.Join(ids, " ")
}

func TestJudge(t *testing.T) {
	noble := line{"noble", "amd64"}
	for _, tt := range []struct {
		what string
		rule retention
		edit func(*seen)
		gone string
	}{
		{"the newest stay", retention{keep: 3}, func(*seen) {}, "a4 a5 a6 a7"},
		{"the young stay", retention{keep: 1, age: 30 * 24 * time.Hour}, func(*seen) {}, "a6 a7"},
		{"latest stays, however old", retention{keep: 1}, func(s *seen) { s.histories[noble] = []string{"a7"} }, "a2 a3 a4 a5 a6"},
		{"the way back stays, as far as keep", retention{keep: 2}, func(s *seen) { s.histories[noble] = []string{"a7", "a6", "a5"} }, "a3 a4 a7"},
		{"after a rollback, too", retention{keep: 2}, func(s *seen) { s.histories[noble] = []string{"a7", "a6", "a5", "a6"} }, "a3 a4 a7"},
		{"what another line promotes is no reason", retention{keep: 1}, func(s *seen) { s.histories[line{"noble", "arm64"}] = []string{"a7"} }, "a2 a3 a4 a5 a6 a7"},
		{"an instance's stays", retention{keep: 1}, func(s *seen) { s.uses["a5"] = []string{"instance i-1"} }, "a2 a3 a4 a6 a7"},
		{"a shared one stays", retention{keep: 1}, func(s *seen) { s.sharers["a6"] = []string{"111122223333"} }, "a2 a3 a4 a5 a7"},
		{"a protected one stays", retention{keep: 1}, func(s *seen) { s.images[5].Protected = true }, "a2 a3 a4 a5 a7"},
		{"an unfinished one goes, though it is the newest", retention{keep: 1, age: 30 * 24 * time.Hour}, func(s *seen) { unfinish(s, now.Add(-25*time.Hour)) }, "a1 a6 a7"},
		{"and is none of the newest", retention{keep: 2}, func(s *seen) { unfinish(s, now.Add(-25*time.Hour)) }, "a1 a4 a5 a6 a7"},
		{"not while its bake goes on", retention{keep: 6}, func(s *seen) { unfinish(s, now.Add(-23*time.Hour)) }, ""},
		{"nor while nothing tells when that began", retention{keep: 6}, func(s *seen) { unfinish(s, time.Time{}); s.images[0].Build = "" }, ""},
		{"nor while somebody uses it", retention{keep: 6}, func(s *seen) { unfinish(s, now.Add(-25*time.Hour)); s.uses["a1"] = []string{"instance i-1"} }, ""},
		{"each line has its newest", retention{keep: 6}, func(s *seen) { s.images[6].Architecture = "arm64" }, ""},
	} {
		s := seen{images: fleet(7), histories: map[line][]string{}, uses: map[string][]string{}, sharers: map[string][]string{}}
		tt.edit(&s)
		if got := gone(judge(s, tt.rule, now)); got != tt.gone {
			t.Errorf("%s: %q goes, want %q", tt.what, got, tt.gone)
		}
	}
}

func TestBefore(t *testing.T) {
	for _, tt := range []struct{ history, to, want string }{
		{"a b", "", "a"},
		{"a b c", "", "b"},
		{"a b c b", "", "a"}, // a second rollback goes on back
		{"a b c b a", "", "nothing was promoted before a"},
		{"a b c b d", "", "b"},
		{"a", "", "nothing was promoted before a"},
		{"", "", "nothing has been promoted"},
		{"a b c", "a", "a"},
		{"a b c", "c", "c is latest already"},
		{"a b c", "d", "d has never been latest"},
	} {
		got, err := before(strings.Fields(tt.history), tt.to)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("history %q, to %q: %q, want %q", tt.history, tt.to, got, tt.want)
		}
	}
}

func TestCheckLaunchable(t *testing.T) {
	past, coming := now.Add(-time.Hour), now.Add(time.Hour)
	for _, tt := range []struct {
		image image
		want  string
	}{
		{image{State: "available"}, ""},
		{image{State: "available", Deprecated: &coming}, ""},
		{image{State: "available", Deprecated: &past}, "it is deprecated since 2026-11-26"},
		{image{State: "available", Unfinished: true}, "its bake has not come to its end"},
		{image{State: "pending"}, `its state is "pending"`},
		{image{State: "disabled"}, `its state is "disabled"`},
	} {
		err := checkLaunchable(tt.image, now)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.image, err, tt.want)
		}
	}
}

// TestUnfinished: what Packer (1.8.2 of its plugin for Amazon) makes bears the tags of
// the machine from the first, a copy too, and those of the image only at the end.
func TestUnfinished(t *testing.T) {
	for _, tt := range []struct {
		tags       []string
		unfinished bool
	}{
		{[]string{tagVersion, tagBuild, tagBake}, true},
		{[]string{tagVersion, tagBuild, tagBake, tagSource}, false},
		{[]string{tagVersion, tagBuild}, false}, // somebody's own copy
	} {
		raw := types.Image{CreationDate: aws.String("2026-11-26T08:32:00.000Z")}
		for _, key := range tt.tags {
			raw.Tags = append(raw.Tags, types.Tag{Key: aws.String(key), Value: aws.String("x")})
		}
		if i, err := parseImage(raw); err != nil || i.Unfinished != tt.unfinished {
			t.Errorf("%v: unfinished is %v, want %v (%v)", tt.tags, i.Unfinished, tt.unfinished, err)
		}
	}
}

func TestParseImage(t *testing.T) {
	got, err := parseImage(types.Image{
		ImageId: aws.String("ami-1"), Name: aws.String("vpnami"), CreationDate: aws.String("2026-11-26T08:32:00.000Z"),
		DeprecationTime: aws.String("2027-06-30T00:00:00.000Z"), State: types.ImageStateAvailable,
		DeregistrationProtection: aws.String("enabled-with-cooldown"),
		Tags:                     []types.Tag{{Key: aws.String(tagVersion), Value: aws.String("0.1.0")}, {Key: aws.String(tagRelease), Value: aws.String("noble")}},
		BlockDeviceMappings: []types.BlockDeviceMapping{
			{Ebs: &types.EbsBlockDevice{SnapshotId: aws.String("snap-1"), Encrypted: aws.Bool(true)}},
			{VirtualName: aws.String("ephemeral0")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	deprecated := time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)
	want := image{ID: "ami-1", Name: "vpnami", Version: "0.1.0", Release: "noble", Created: time.Date(2026, 11, 26, 8, 32, 0, 0, time.UTC),
		State: "available", Deprecated: &deprecated, Snapshots: []string{"snap-1"}, Encrypted: true, Protected: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// withDisabled is an EC2 that has one image, which is disabled: it is told of only to
// who asks for such, as AWS does.
type withDisabled struct{}

func (withDisabled) DescribeImages(_ context.Context, in *ec2.DescribeImagesInput, _ ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	if !aws.ToBool(in.IncludeDisabled) {
		return &ec2.DescribeImagesOutput{}, nil
	}
	return &ec2.DescribeImagesOutput{Images: []types.Image{{ImageId: aws.String("ami-1"), CreationDate: aws.String("2026-11-26T08:32:00.000Z"), State: types.ImageStateDisabled}}}, nil
}

// TestDisabledImagesAreSeen: the snapshot of one that is not seen would be taken for
// one whose image is gone.
func TestDisabledImagesAreSeen(t *testing.T) {
	images, err := readImages(t.Context(), withDisabled{})
	if err != nil || len(images) != 1 {
		t.Fatalf("read %v, %v", images, err)
	}
	if err := checkLaunchable(images[0], now); err == nil {
		t.Error("a disabled image passes as one that can be launched")
	}
}

// named is a Systems Manager of one parameter.
type named struct {
	parameterAPI
	name, value string
}

func (n named) GetParameter(_ context.Context, in *ssm.GetParameterInput, _ ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	if *in.Name != n.name {
		return nil, &ssmtypes.ParameterNotFound{}
	}
	return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Value: &n.value}}, nil
}

// refused is an EC2 that lets nobody delete a snapshot, and has nothing else (the nil
// panics).
type refused struct{ removalAPI }

func (refused) DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error) {
	return nil, &smithy.GenericAPIError{Code: "UnauthorizedOperation", Message: "You are not authorized"}
}

// TestRemovalWithoutTheRight: an image stays whose snapshots would be left, of which
// nothing would tell, and it is said how they get what lets a role delete them.
func TestRemovalWithoutTheRight(t *testing.T) {
	i := fleet(1)[0]
	i.Snapshots, i.Unfinished = []string{"snap-1"}, true
	err := removal(refused{}, shelf{named{name: "none"}, "/vpnami/ami"}, i, nil).do(t.Context())
	want := "aws ec2 create-tags --resources snap-1 --tags Key=vpnami:version,Value=0.1.0 Key=vpnami:build,Value=" + i.Build
	if err == nil || !strings.Contains(err.Error(), "not authorized") || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("said %v", err)
	}
}

// TestRemovalOfWhatBecameLatest: somebody rolled back to the image while the sweep
// that is to remove it went on. Nothing of it is touched (the nil panics).
func TestRemovalOfWhatBecameLatest(t *testing.T) {
	i := fleet(1)[0]
	s := shelf{named{name: "/vpnami/ami/noble/amd64/latest", value: i.ID}, "/vpnami/ami"}
	err := removal(nil, s, i, map[string]string{"/vpnami/ami/noble/amd64/0.1.0": i.ID}).do(t.Context())
	if err == nil || !strings.Contains(err.Error(), "it has become latest") {
		t.Errorf("said %v", err)
	}
}

func TestPermission(t *testing.T) {
	for with, good := range map[string]bool{
		"111122223333": true, "arn:aws:organizations::111122223333:organization/o-abcdefghij": true,
		"arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-ab12-cdefgh34": true,
		"all": false, "11112222333": false, "": false, "arn:aws:iam::111122223333:root": false,
	} {
		if _, err := permission(with); (err == nil) != good {
			t.Errorf("%q: %v", with, err)
		}
	}
}

func TestParseArtifacts(t *testing.T) {
	const file = `{"builds": [
		{"builder_type": "amazon-ebs", "artifact_id": "eu-west-1:ami-old", "packer_run_uuid": "1"},
		{"builder_type": "amazon-ebs", "artifact_id": "eu-west-1:ami-2,ap-northeast-1:ami-1", "packer_run_uuid": "2"},
		{"builder_type": "vpnami-bootstrap.local", "artifact_id": "x", "packer_run_uuid": "2"}],
		"last_run_uuid": "2"}`
	got, err := parseArtifacts([]byte(file))
	if want := []made{{"ap-northeast-1", "ami-1"}, {"eu-west-1", "ami-2"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for file, want := range map[string]string{
		`{}`: "its last run made no AMI",
		`{"builds": [{"builder_type": "amazon-ebs", "artifact_id": "ami-1"}]}`: `the artifact "ami-1" is not REGION:AMI`,
		`[`: "unexpected end",
	} {
		if _, err := parseArtifacts([]byte(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

func FuzzParseArtifacts(f *testing.F) {
	f.Add([]byte(`{"builds": [{"builder_type": "amazon-ebs", "artifact_id": "eu-west-1:ami-1", "packer_run_uuid": "1"}], "last_run_uuid": "1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseArtifacts(data)
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%v, %v", all, err)
		}
		for _, m := range all {
			if m.region == "" || !strings.HasPrefix(m.id, "ami-") {
				t.Errorf("%+v", m)
			}
		}
	})
}
