// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (k *keeper) promoteCommand() *cobra.Command {
	var artifacts string
	cmd := &cobra.Command{
		Use:   "promote AMI | --artifacts FILE",
		Short: "Have an AMI launched from now on",
		Long: `Writes two parameters of type aws:ec2:image: PREFIX/RELEASE/ARCHITECTURE/VERSION-BUILD,
which is written once and never changes, and PREFIX/RELEASE/ARCHITECTURE/latest, which
launches go by. AWS checks each value, and it is read back.

With --artifacts it takes the AMIs of a bake in all their regions, from the file that
"packer build images" wrote. Verify the AMI first (make verify-aws).

What runs already goes on running. Launches that name "latest" take the new AMI:
"terraform apply" replaces the gateway when its template says so.

It needs ec2:DescribeImages, and on the parameters ssm:GetParameter and PutParameter.`,
		Example: `  vpnami-images promote ami-0123456789abcdef0
  vpnami-images promote --artifacts packer-manifest.json --apply`,
		Args: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (artifacts != "") || len(args) > 1 {
				return usage(cmd, "one AMI is needed, or --artifacts")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), verbWait)
			defer cancel()
			if artifacts == "" {
				if err := k.promote(ctx, made{k.region, args[0]}); err != nil {
					return err
				}
				k.adviseApply()
				return nil
			}
			if k.region != "" {
				return usage(cmd, "--region has no meaning beside --artifacts, whose AMIs have regions of their own")
			}
			all, err := readArtifacts(artifacts)
			if err != nil {
				return err
			}
			for _, m := range all {
				if err := k.promote(ctx, m); err != nil {
					return err
				}
			}
			k.adviseApply()
			return nil
		},
	}
	cmd.Flags().StringVar(&artifacts, "artifacts", "", "file that the bake listed its AMIs in")
	k.applyFlag(cmd)
	return cmd
}

func (k *keeper) promote(ctx context.Context, m made) error {
	a, err := openAccount(ctx, m.region)
	if err != nil {
		return err
	}
	i, err := readImage(ctx, a.ec2, m.id)
	if err != nil {
		return err
	}
	if err := checkLaunchable(i, k.now()); err != nil {
		return err
	}
	s := shelf{a.ssm, k.parameters}
	own, err := s.get(ctx, s.name(i.line(), i.edition()))
	if err != nil {
		return err
	}
	if own != "" && own != i.ID {
		return fmt.Errorf("promoting %s: parameter %q names %s, and what was promoted under it never changes: bake anew", i, s.name(i.line(), i.edition()), own)
	}
	now, err := s.get(ctx, s.name(i.line(), latest))
	if err != nil {
		return err
	}
	changes := promotion(s, i, own, now)
	if len(changes) == 0 {
		k.say("%s: %s is latest already", a.region, i)
	}
	return k.carryOut(ctx, a.region, changes)
}

// promotion is what is left to do, where the image's own parameter and latest
// have these values.
func promotion(s shelf, i image, own, now string) []change {
	var changes []change
	if own == "" {
		name := s.name(i.line(), i.edition())
		changes = append(changes, change{
			fmt.Sprintf("write %s = %s", name, i.ID),
			func(ctx context.Context) error { return s.put(ctx, name, i.ID, false) },
		})
	}
	if now != i.ID {
		changes = append(changes, repoint(s, i, now))
	}
	return changes
}

// repoint has latest name the image in place of now.
func repoint(s shelf, i image, now string) change {
	name := s.name(i.line(), latest)
	was := "is not there yet"
	if now != "" {
		was = "is " + now
	}
	return change{
		fmt.Sprintf("write %s = %s (%s)", name, i.ID, was),
		func(ctx context.Context) error { return s.put(ctx, name, i.ID, true) },
	}
}

// checkLaunchable refuses an image that a launch would fail with, or that is on
// its way out.
func checkLaunchable(i image, now time.Time) error {
	if i.Unfinished {
		return fmt.Errorf("looking at %s: its bake has not come to its end, which gives it the tag %s: wait for it, or bake anew; a day after a bake that failed, \"sweep\" removes it", i, tagSource)
	}
	if i.State != "available" {
		return fmt.Errorf("looking at %s: its state is %q: wait until it is available", i, i.State)
	}
	if i.Deprecated != nil && !i.Deprecated.After(now) {
		return fmt.Errorf("looking at %s: it is deprecated since %s: take another, or \"deprecate --cancel\" first", i, i.Deprecated.Format(time.DateOnly))
	}
	return nil
}
