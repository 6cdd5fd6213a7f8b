// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/spf13/cobra"
)

func (k *keeper) deprecateCommand() *cobra.Command {
	var at string
	var cancel bool
	cmd := &cobra.Command{
		Use:   "deprecate AMI --at DATE",
		Short: "Say that an AMI should not be launched any more",
		Long: `Marks the AMI as deprecated from a day on: others no longer find it in a search,
launches by its id still work, and "promote" refuses it. It is no way to stop
launches. One that is latest is refused: promote another first.

It needs ec2:DescribeImages, EnableImageDeprecation (DisableImageDeprecation with
--cancel), and on the parameters ssm:GetParameter.`,
		Example: `  vpnami-images deprecate ami-0123456789abcdef0 --at 2027-06-30 --apply
  vpnami-images deprecate ami-0123456789abcdef0 --cancel --apply`,
		Args: exactly(1, "one AMI"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (at == "") != cancel {
				return usage(cmd, "--at with a day is needed, such as 2027-06-30, or --cancel")
			}
			var day time.Time
			if at != "" {
				var err error
				if day, err = time.Parse(time.DateOnly, at); err != nil {
					return usage(cmd, "--at: %q is no day such as 2027-06-30", at)
				}
				if !day.After(k.now()) {
					return usage(cmd, "--at: %q is past, and AWS takes days to come only", at)
				}
			}
			ctx, stop := context.WithTimeout(cmd.Context(), verbWait)
			defer stop()
			if err := k.deprecate(ctx, args[0], day); err != nil {
				return err
			}
			k.adviseApply()
			return nil
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "from when on, such as 2027-06-30 (midnight UTC; at most ten years ahead)")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "it is not deprecated any more")
	k.applyFlag(cmd)
	return cmd
}

// deprecate sets the day, or takes it away if it is zero.
func (k *keeper) deprecate(ctx context.Context, id string, day time.Time) error {
	a, err := openAccount(ctx, k.region)
	if err != nil {
		return err
	}
	i, err := readImage(ctx, a.ec2, id)
	if err != nil {
		return err
	}
	s := shelf{a.ssm, k.parameters}
	now, err := s.get(ctx, s.name(i.line(), latest))
	if err != nil {
		return err
	}
	c := undeprecation(a.ec2, i)
	if !day.IsZero() {
		if now == i.ID {
			return fmt.Errorf("deprecating %s: it is latest: promote another first", i)
		}
		c = deprecation(a.ec2, i, day)
	}
	return k.carryOut(ctx, a.region, []change{c})
}

func deprecation(api *ec2.Client, i image, day time.Time) change {
	return change{
		fmt.Sprintf("deprecate %s from %s on", i, day.Format(time.DateOnly)),
		func(ctx context.Context) error {
			if _, err := api.EnableImageDeprecation(ctx, &ec2.EnableImageDeprecationInput{ImageId: aws.String(i.ID), DeprecateAt: aws.Time(day)}); err != nil {
				return fmt.Errorf("deprecating %s: %w", i, err)
			}
			return nil
		},
	}
}

func undeprecation(api *ec2.Client, i image) change {
	return change{
		fmt.Sprintf("take the deprecation of %s away", i),
		func(ctx context.Context) error {
			if _, err := api.DisableImageDeprecation(ctx, &ec2.DisableImageDeprecationInput{ImageId: aws.String(i.ID)}); err != nil {
				return fmt.Errorf("taking the deprecation of %s away: %w", i, err)
			}
			return nil
		},
	}
}
