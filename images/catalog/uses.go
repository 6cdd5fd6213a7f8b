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
func readUses(ctx context.Context, api usesAPI, parameters map[string]string) (map[string][]string, error) {
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
			if err := readTemplate(ctx, api, t, parameters, uses); err != nil {
				return nil, err
			}
		}
	}
	return uses, nil
}

func readTemplate(ctx context.Context, api usesAPI, t types.LaunchTemplate, parameters map[string]string, uses map[string][]string) error {
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
			id := resolve(aws.ToString(v.LaunchTemplateData.ImageId), parameters)
			if id != "" {
				uses[id] = append(uses[id], fmt.Sprintf("launch template %s version %d", aws.ToString(t.LaunchTemplateName), aws.ToInt64(v.VersionNumber)))
			}
		}
	}
	return nil
}

// resolve reads what a launch template gives in place of an id,
// "resolve:ssm:NAME" or "resolve:ssm:NAME:VERSION".
func resolve(id string, parameters map[string]string) string {
	name, found := strings.CutPrefix(id, "resolve:ssm:")
	if !found {
		return id
	}
	name, _, _ = strings.Cut(name, ":")
	return parameters[name]
}
