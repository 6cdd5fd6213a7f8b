// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// leftover is something that an interrupted bake or sweep left behind, and its
// form with --json.
type leftover struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	// Of is the bake, by the name that its AMI was to have.
	Of string `json:"of"`

	delete func(context.Context, *ec2.Client) error
}

func (l leftover) removal(api *ec2.Client) change {
	return change{
		fmt.Sprintf("remove %s %s of bake %s", l.Kind, l.ID, l.Of),
		func(ctx context.Context) error {
			if err := l.delete(ctx, api); err != nil {
				return fmt.Errorf("removing %s %q: %w", l.Kind, l.ID, err)
			}
			return nil
		},
	}
}

// terminationWait is how long an instance may take to end; AWS says minutes.
const terminationWait = 5 * time.Minute

// readLeftovers finds what bears a bake's tags and began before that time, in the
// order in which AWS lets it go.
func readLeftovers(ctx context.Context, api *ec2.Client, images []image, before time.Time) ([]leftover, error) {
	var all []leftover
	for _, read := range []func(context.Context, *ec2.Client, time.Time) ([]leftover, error){leftInstances, leftVolumes, leftGroups, leftKeys} {
		found, err := read(ctx, api, before)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	snapshots, err := leftSnapshots(ctx, api, images, before)
	return append(all, snapshots...), err
}

func byTag(key string) []types.Filter {
	return []types.Filter{{Name: aws.String("tag-key"), Values: []string{key}}}
}

// abandoned tells whether the tags are those of a bake that began before.
func abandoned(tags []types.Tag, before time.Time) bool {
	began, err := time.Parse(buildLayout, tag(tags, tagBuild))
	return err == nil && began.Before(before)
}

func leftInstances(ctx context.Context, api *ec2.Client, before time.Time) ([]leftover, error) {
	var all []leftover
	for pages := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{Filters: byTag(tagBake)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading instances of bakes: %w", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				if i.State == nil || i.State.Name == types.InstanceStateNameTerminated || !abandoned(i.Tags, before) {
					continue
				}
				id := aws.ToString(i.InstanceId)
				all = append(all, leftover{"instance", id, tag(i.Tags, tagBake), func(ctx context.Context, api *ec2.Client) error {
					if _, err := api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
						return err
					}
					// Its volume and its group are let go only then.
					return ec2.NewInstanceTerminatedWaiter(api).Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, terminationWait)
				}})
			}
		}
	}
	return all, nil
}

func leftVolumes(ctx context.Context, api *ec2.Client, before time.Time) ([]leftover, error) {
	var all []leftover
	for pages := ec2.NewDescribeVolumesPaginator(api, &ec2.DescribeVolumesInput{Filters: byTag(tagBake)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading volumes of bakes: %w", err)
		}
		for _, v := range page.Volumes {
			// One that is attached ends with its instance.
			if v.State != types.VolumeStateAvailable || !abandoned(v.Tags, before) {
				continue
			}
			id := aws.ToString(v.VolumeId)
			all = append(all, leftover{"volume", id, tag(v.Tags, tagBake), func(ctx context.Context, api *ec2.Client) error {
				_, err := api.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: aws.String(id)})
				return err
			}})
		}
	}
	return all, nil
}

func leftGroups(ctx context.Context, api *ec2.Client, before time.Time) ([]leftover, error) {
	var all []leftover
	for pages := ec2.NewDescribeSecurityGroupsPaginator(api, &ec2.DescribeSecurityGroupsInput{Filters: byTag(tagBake)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading security groups of bakes: %w", err)
		}
		for _, g := range page.SecurityGroups {
			if !abandoned(g.Tags, before) {
				continue
			}
			id := aws.ToString(g.GroupId)
			all = append(all, leftover{"security group", id, tag(g.Tags, tagBake), func(ctx context.Context, api *ec2.Client) error {
				_, err := api.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(id)})
				return err
			}})
		}
	}
	return all, nil
}

func leftKeys(ctx context.Context, api *ec2.Client, before time.Time) ([]leftover, error) {
	out, err := api.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: byTag(tagBake)})
	if err != nil {
		return nil, fmt.Errorf("reading key pairs of bakes: %w", err)
	}
	var all []leftover
	for _, p := range out.KeyPairs {
		if !abandoned(p.Tags, before) {
			continue
		}
		name := aws.ToString(p.KeyName)
		all = append(all, leftover{"key pair", name, tag(p.Tags, tagBake), func(ctx context.Context, api *ec2.Client) error {
			_, err := api.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String(name)})
			return err
		}})
	}
	return all, nil
}

// leftSnapshots finds snapshots of images that are no more.
func leftSnapshots(ctx context.Context, api *ec2.Client, images []image, before time.Time) ([]leftover, error) {
	var all []leftover
	in := &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: byTag(tagVersion)}
	for pages := ec2.NewDescribeSnapshotsPaginator(api, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading snapshots: %w", err)
		}
		for _, s := range page.Snapshots {
			id := aws.ToString(s.SnapshotId)
			needed := slices.ContainsFunc(images, func(i image) bool { return slices.Contains(i.Snapshots, id) })
			if needed || !abandoned(s.Tags, before) {
				continue
			}
			all = append(all, leftover{"snapshot", id, tag(s.Tags, "Name"), func(ctx context.Context, api *ec2.Client) error {
				_, err := api.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
				return err
			}})
		}
	}
	return all, nil
}
