// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// The tags that images/amazon.pkr.hcl gives to what it makes.
const (
	tagVersion      = "vpnami:version"
	tagBuild        = "vpnami:build"
	tagRelease      = "vpnami:release"
	tagArchitecture = "vpnami:architecture"
	tagCommit       = "vpnami:commit"
	tagSource       = "vpnami:source-ami"
	// tagBake is on what a bake removes when it ends, and on its AMI from the moment
	// that it begins to be made; tagSource comes last, with those of tags.
	tagBake = "vpnami:bake"
)

// buildLayout is the form of tagBuild: when the bake began.
const buildLayout = "20060102T150405Z"

// image is one AMI of vpnami's, and its form with --json.
type image struct {
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	Version      string     `json:"version"`
	Build        string     `json:"build"`
	Release      string     `json:"release"`
	Architecture string     `json:"architecture"`
	Commit       string     `json:"commit"`
	Source       string     `json:"source_ami"`
	Created      time.Time  `json:"created"`
	State        string     `json:"state"`
	Deprecated   *time.Time `json:"deprecated,omitempty"`
	Snapshots    []string   `json:"snapshots"`
	Encrypted    bool       `json:"encrypted"`
	// Protected: AWS refuses to deregister it, for a day longer if so chosen.
	Protected bool `json:"protected"`
	// Unfinished: its bake, which gives it the last tags at its very end, failed or goes
	// on. Packer removes what it made in its own region, and not the copies in others.
	Unfinished bool `json:"unfinished"`
}

// line is the kind of images that replace each other.
type line struct{ release, architecture string }

func (l line) String() string { return l.release + "/" + l.architecture }

func (i image) line() line { return line{i.Release, i.Architecture} }

// edition tells one bake of a version from the next.
func (i image) edition() string { return i.Version + "-" + i.Build }

func (i image) String() string {
	return fmt.Sprintf("%s (%s %s, %s)", i.ID, i.line(), i.Version, i.Build)
}

// readImages reads the account's own images that bear vpnami's tags, the newest
// first.
func readImages(ctx context.Context, api ec2.DescribeImagesAPIClient) ([]image, error) {
	return describeImages(ctx, api, &ec2.DescribeImagesInput{
		Owners:            []string{"self"},
		Filters:           []types.Filter{{Name: aws.String("tag-key"), Values: []string{tagVersion}}},
		IncludeDeprecated: aws.Bool(true),
		IncludeDisabled:   aws.Bool(true),
	})
}

// readImage reads one image, and refuses one that is not vpnami's or not the
// account's own.
func readImage(ctx context.Context, api ec2.DescribeImagesAPIClient, id string) (image, error) {
	found, err := describeImages(ctx, api, &ec2.DescribeImagesInput{
		ImageIds: []string{id}, Owners: []string{"self"}, IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true)})
	if err != nil {
		return image{}, fmt.Errorf("reading AMI %q: %w", id, err)
	}
	if len(found) == 0 {
		return image{}, fmt.Errorf("reading AMI %q: this account has no AMI of that id in this region; \"list\" shows those that it has", id)
	}
	if i := found[0]; i.Version == "" || i.Release == "" || i.Architecture == "" || i.Build == "" {
		return image{}, fmt.Errorf("reading AMI %q: it lacks the tags %s, %s, %s, %s, so that it is no image of vpnami's template",
			id, tagVersion, tagBuild, tagRelease, tagArchitecture)
	}
	return found[0], nil
}

func describeImages(ctx context.Context, api ec2.DescribeImagesAPIClient, in *ec2.DescribeImagesInput) ([]image, error) {
	var all []image
	for pages := ec2.NewDescribeImagesPaginator(api, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading AMIs: %w", err)
		}
		for _, raw := range page.Images {
			i, err := parseImage(raw)
			if err != nil {
				return nil, err
			}
			all = append(all, i)
		}
	}
	slices.SortStableFunc(all, func(a, b image) int {
		if c := strings.Compare(a.line().String(), b.line().String()); c != 0 {
			return c
		}
		return strings.Compare(b.Build, a.Build)
	})
	return all, nil
}

func parseImage(raw types.Image) (image, error) {
	i := image{
		ID:           aws.ToString(raw.ImageId),
		Name:         aws.ToString(raw.Name),
		Version:      tag(raw.Tags, tagVersion),
		Build:        tag(raw.Tags, tagBuild),
		Release:      tag(raw.Tags, tagRelease),
		Architecture: tag(raw.Tags, tagArchitecture),
		Commit:       tag(raw.Tags, tagCommit),
		Source:       tag(raw.Tags, tagSource),
		State:        string(raw.State),
	}
	i.Unfinished = tag(raw.Tags, tagBake) != "" && i.Source == ""
	// "disabled", "enabled", "enabled-with-cooldown", and in the day between, a sentence.
	protection := aws.ToString(raw.DeregistrationProtection)
	i.Protected = protection != "" && protection != "disabled"
	var err error
	if i.Created, err = time.Parse(time.RFC3339, aws.ToString(raw.CreationDate)); err != nil {
		return image{}, fmt.Errorf("reading AMI %q: its date of creation: %w", i.ID, err)
	}
	if at := aws.ToString(raw.DeprecationTime); at != "" {
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return image{}, fmt.Errorf("reading AMI %q: its date of deprecation: %w", i.ID, err)
		}
		i.Deprecated = &t
	}
	for _, m := range raw.BlockDeviceMappings {
		if m.Ebs != nil && m.Ebs.SnapshotId != nil {
			i.Snapshots = append(i.Snapshots, *m.Ebs.SnapshotId)
			i.Encrypted = i.Encrypted || aws.ToBool(m.Ebs.Encrypted)
		}
	}
	return i, nil
}

func tag(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}
