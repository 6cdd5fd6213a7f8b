// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/spf13/cobra"
)

var (
	accountPattern      = regexp.MustCompile(`^[0-9]{12}$`)
	organizationPattern = regexp.MustCompile(`^arn:aws[a-z-]*:organizations::[0-9]{12}:organization/o-[a-z0-9]+$`)
	unitPattern         = regexp.MustCompile(`^arn:aws[a-z-]*:organizations::[0-9]{12}:ou/o-[a-z0-9]+/ou-[a-z0-9-]+$`)
)

func (k *keeper) shareCommand() *cobra.Command {
	var withdraw bool
	cmd := &cobra.Command{
		Use:   "share AMI ACCOUNT...",
		Short: "Let other accounts launch an AMI",
		Long: `Lets accounts (12 digits), organizations or their units (ARNs) launch the AMI, or
with --withdraw no longer. An AMI that is encrypted can be launched only where its KMS
key may be used as well, and never if that key is the account's own for EBS. It is
never made public.

The other account has no parameter: it names the AMI by its id.

It needs ec2:DescribeImages, DescribeImageAttribute and ModifyImageAttribute.`,
		Example: `  vpnami-images share ami-0123456789abcdef0 111122223333 --apply
  vpnami-images share ami-0123456789abcdef0 111122223333 --withdraw --apply`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage(cmd, "an AMI is needed, and the accounts that may launch it")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, with := range args[1:] {
				if _, err := permission(with); err != nil {
					return usage(cmd, "%w", err)
				}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), verbWait)
			defer cancel()
			if err := k.share(ctx, args[0], args[1:], withdraw); err != nil {
				return err
			}
			k.adviseApply()
			return nil
		},
	}
	cmd.Flags().BoolVar(&withdraw, "withdraw", false, "take the permission away")
	k.applyFlag(cmd)
	return cmd
}

func (k *keeper) share(ctx context.Context, id string, with []string, withdraw bool) error {
	a, err := openAccount(ctx, k.region)
	if err != nil {
		return err
	}
	i, err := readImage(ctx, a.ec2, id)
	if err != nil {
		return err
	}
	now, err := readSharers(ctx, a.ec2, i)
	if err != nil {
		return err
	}
	if i.Encrypted && !withdraw {
		k.say("%s: %s is encrypted: the accounts need its KMS key as well", a.region, i)
	}
	var changes []change
	for _, w := range with {
		if slices.Contains(now, w) != withdraw {
			k.say("%s: for %s it is so already", a.region, w)
			continue
		}
		what := fmt.Sprintf("let %s launch %s", w, i)
		if withdraw {
			what = fmt.Sprintf("no longer let %s launch %s", w, i)
		}
		changes = append(changes, change{what, func(ctx context.Context) error { return modifySharers(ctx, a.ec2, i, w, withdraw) }})
	}
	return k.carryOut(ctx, a.region, changes)
}

// permission is what EC2 calls somebody who may launch.
func permission(with string) (types.LaunchPermission, error) {
	switch {
	case accountPattern.MatchString(with):
		return types.LaunchPermission{UserId: aws.String(with)}, nil
	case organizationPattern.MatchString(with):
		return types.LaunchPermission{OrganizationArn: aws.String(with)}, nil
	case unitPattern.MatchString(with):
		return types.LaunchPermission{OrganizationalUnitArn: aws.String(with)}, nil
	}
	return types.LaunchPermission{}, fmt.Errorf("%q is no account of 12 digits and no ARN of an organization or its unit", with)
}

type sharersAPI interface {
	DescribeImageAttribute(context.Context, *ec2.DescribeImageAttributeInput, ...func(*ec2.Options)) (*ec2.DescribeImageAttributeOutput, error)
	ModifyImageAttribute(context.Context, *ec2.ModifyImageAttributeInput, ...func(*ec2.Options)) (*ec2.ModifyImageAttributeOutput, error)
}

// readSharers tells who else may launch the image.
func readSharers(ctx context.Context, api sharersAPI, i image) ([]string, error) {
	out, err := api.DescribeImageAttribute(ctx, &ec2.DescribeImageAttributeInput{
		ImageId: aws.String(i.ID), Attribute: types.ImageAttributeNameLaunchPermission})
	if err != nil {
		return nil, fmt.Errorf("reading who may launch %s: %w", i, err)
	}
	var all []string
	for _, p := range out.LaunchPermissions {
		all = append(all, aws.ToString(p.UserId)+aws.ToString(p.OrganizationArn)+aws.ToString(p.OrganizationalUnitArn)+string(p.Group))
	}
	return all, nil
}

func modifySharers(ctx context.Context, api sharersAPI, i image, with string, withdraw bool) error {
	p, err := permission(with)
	if err != nil {
		return err
	}
	m := &types.LaunchPermissionModifications{Add: []types.LaunchPermission{p}}
	if withdraw {
		m = &types.LaunchPermissionModifications{Remove: []types.LaunchPermission{p}}
	}
	if _, err := api.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{ImageId: aws.String(i.ID), LaunchPermission: m}); err != nil {
		return fmt.Errorf("changing who may launch %s: %w", i, err)
	}
	return nil
}
