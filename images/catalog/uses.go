// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

type usesAPI interface {
	ec2.DescribeInstancesAPIClient
	ec2.DescribeLaunchTemplatesAPIClient
	ec2.DescribeLaunchTemplateVersionsAPIClient
}

// readUses tells by AMI what in the account would miss it: instances that are not
// terminated, and every version of every launch template.
func readUses(ctx context.Context, api usesAPI, s shelf) (map[string][]string, error) {
	names := resolver{s, map[string]string{}}
	uses := map[string][]string{}
	for pages := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading instances: %w", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				if i.State != nil && i.State.Name != types.InstanceStateNameTerminated {
					id := aws.ToString(i.ImageId)
					uses[id] = append(uses[id], "instance "+aws.ToString(i.InstanceId))
				}
			}
		}
	}
	for pages := ec2.NewDescribeLaunchTemplatesPaginator(api, &ec2.DescribeLaunchTemplatesInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading launch templates: %w", err)
		}
		for _, t := range page.LaunchTemplates {
			if err := readTemplate(ctx, api, t, names, uses); err != nil {
				return nil, err
			}
		}
	}
	return uses, nil
}

func readTemplate(ctx context.Context, api usesAPI, t types.LaunchTemplate, names resolver, uses map[string][]string) error {
	pages := ec2.NewDescribeLaunchTemplateVersionsPaginator(api, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: t.LaunchTemplateId})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("reading launch template %q: %w", aws.ToString(t.LaunchTemplateName), err)
		}
		for _, v := range page.LaunchTemplateVersions {
			if v.LaunchTemplateData == nil {
				continue
			}
			id, err := names.resolve(ctx, aws.ToString(v.LaunchTemplateData.ImageId))
			if err != nil {
				return fmt.Errorf("reading what launch template %q launches: %w", aws.ToString(t.LaunchTemplateName), err)
			}
			if id != "" {
				uses[id] = append(uses[id], fmt.Sprintf("launch template %s version %d", aws.ToString(t.LaunchTemplateName), aws.ToInt64(v.VersionNumber)))
			}
		}
	}
	return nil
}

// resolver reads the parameters that launch templates give in place of an id, each
// once. Whose they are does not matter: they may name an image of ours.
type resolver struct {
	shelf shelf
	known map[string]string
}

// resolve reads "resolve:ssm:NAME", "resolve:ssm:NAME:VERSION" or with a label in
// place of the version. It is "" for a parameter, or version, that is not there.
func (r resolver) resolve(ctx context.Context, id string) (string, error) {
	name, found := strings.CutPrefix(id, "resolve:ssm:")
	if !found {
		return id, nil
	}
	// AWS's own, which everybody reads, name AWS's images.
	if strings.HasPrefix(name, "/aws/") {
		return "", nil
	}
	if _, known := r.known[name]; !known {
		value, err := r.shelf.get(ctx, name)
		if err != nil {
			return "", err
		}
		r.known[name] = value
	}
	return r.known[name], nil
}
