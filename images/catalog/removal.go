// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

type removalAPI interface {
	DeregisterImage(context.Context, *ec2.DeregisterImageInput, ...func(*ec2.Options)) (*ec2.DeregisterImageOutput, error)
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error)
}

// removal takes an image away: first what names it, then it, then what it is made
// of. What a crash leaves, the next sweep finds by its tags. Minutes may lie between the
// look and this, in which somebody went back to it.
func removal(api removalAPI, s shelf, i image, parameters map[string]string) change {
	what := "deregister " + i.String()
	if i.Unfinished {
		what += ", which its bake left unfinished,"
	}
	if len(i.Snapshots) > 0 {
		what += " and delete " + strings.Join(i.Snapshots, ", ")
	}
	return change{
		what,
		func(ctx context.Context) error {
			now, err := s.get(ctx, s.name(i.line(), latest))
			if err != nil {
				return err
			}
			if now == i.ID {
				return fmt.Errorf("deregistering %s: it has become latest since this sweep began: sweep again", i)
			}
			if err := askToDelete(ctx, api, i); err != nil {
				return err
			}
			for name, id := range parameters {
				if id == i.ID {
					if err := s.remove(ctx, name); err != nil {
						return err
					}
				}
			}
			if _, err := api.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: aws.String(i.ID)}); err != nil {
				return fmt.Errorf("deregistering %s: %w", i, err)
			}
			var errs []error
			for _, id := range i.Snapshots {
				if _, err := api.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)}); err != nil {
					errs = append(errs, fmt.Errorf("deleting snapshot %q of %s: %w", id, i, err))
				}
			}
			return errors.Join(errs...)
		},
	}
}

// askToDelete asks whether the snapshots of an image may be deleted, while it is still
// there: of one without tags nothing tells any more once its image is gone, and as long
// as it has its image AWS does not delete it.
func askToDelete(ctx context.Context, api removalAPI, i image) error {
	for _, id := range i.Snapshots {
		_, err := api.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id), DryRun: aws.Bool(true)})
		// The code of a call that would have been carried out.
		if said, is := errors.AsType[smithy.APIError](err); is && said.ErrorCode() == "DryRunOperation" {
			continue
		}
		if err == nil {
			err = errors.New("AWS did not answer the question")
		}
		err = fmt.Errorf("asking whether snapshot %q may be deleted, before %s is deregistered: %w", id, i, err)
		if i.Unfinished {
			err = fmt.Errorf("%w: its bake has not given it tags, by which images/iam/sweep.json allows that; the role that bakes may do so now: aws ec2 create-tags --resources %s --tags Key=%s,Value=%s Key=%s,Value=%s",
				err, id, tagVersion, i.Version, tagBuild, i.Build)
		}
		return err
	}
	return nil
}

// addCopies adds to unfinished images the snapshots that were copied for them. A copy
// that failed or goes on does not name them, and they have no tags: their description
// does.
func addCopies(ctx context.Context, api ec2.DescribeSnapshotsAPIClient, images []image) error {
	for n, i := range images {
		if !i.Unfinished {
			continue
		}
		in := &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{
			{Name: aws.String("description"), Values: []string{"Copied for DestinationAmi " + i.ID + " from *"}}}}
		for pages := ec2.NewDescribeSnapshotsPaginator(api, in); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return fmt.Errorf("reading what was copied for %s: %w", i, err)
			}
			for _, s := range page.Snapshots {
				if id := aws.ToString(s.SnapshotId); !slices.Contains(images[n].Snapshots, id) {
					images[n].Snapshots = append(images[n].Snapshots, id)
				}
			}
		}
	}
	return nil
}
