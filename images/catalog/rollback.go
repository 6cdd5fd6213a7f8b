// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

func (k *keeper) rollbackCommand() *cobra.Command {
	var l line
	var to string
	cmd := &cobra.Command{
		Use:   "rollback --release RELEASE --architecture ARCHITECTURE",
		Short: "Have the AMI before this one launched again",
		Long: `Has "latest" name the AMI that it named before the present one, or the one of --to,
which must have been promoted. A second rollback goes one further back, not forth again.

What runs already goes on running.

It needs ec2:DescribeImages, and on the parameters ssm:GetParameter, GetParameterHistory
and PutParameter.`,
		Example: `  vpnami-images rollback --release noble --architecture amd64
  vpnami-images rollback --release noble --architecture amd64 --to ami-0123456789abcdef0 --apply`,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l.release == "" || l.architecture == "" {
				return usage(cmd, "--release and --architecture are needed: which images, such as noble and amd64")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), verbWait)
			defer cancel()
			if err := k.rollback(ctx, l, to); err != nil {
				return err
			}
			k.adviseApply()
			return nil
		},
	}
	cmd.Flags().StringVar(&l.release, "release", "", "code name of the image's Ubuntu release, such as noble")
	cmd.Flags().StringVar(&l.architecture, "architecture", "", "amd64 or arm64")
	cmd.Flags().StringVar(&to, "to", "", "the AMI to go back to (default: the one before)")
	k.applyFlag(cmd)
	return cmd
}

func (k *keeper) rollback(ctx context.Context, l line, to string) error {
	a, err := openAccount(ctx, k.region)
	if err != nil {
		return err
	}
	s := shelf{a.ssm, k.parameters}
	history, err := s.history(ctx, s.name(l, latest))
	if err != nil {
		return err
	}
	target, err := before(history, to)
	if err != nil {
		return fmt.Errorf("rolling back %s in %s: %w", l, a.region, err)
	}
	i, err := readImage(ctx, a.ec2, target)
	if err != nil {
		return err
	}
	if err := checkLaunchable(i, k.now()); err != nil {
		return err
	}
	return k.carryOut(ctx, a.region, []change{repoint(s, i, history[len(history)-1])})
}

// before chooses from the values of latest, the oldest first, what came before the
// last one was chosen for the first time; a value of to must be among them.
func before(history []string, to string) (string, error) {
	if len(history) == 0 {
		return "", fmt.Errorf("nothing has been promoted yet")
	}
	now := history[len(history)-1]
	if to != "" {
		if to == now {
			return "", fmt.Errorf("%s is latest already", to)
		}
		if !slices.Contains(history, to) {
			return "", fmt.Errorf("%s has never been latest; \"promote\" makes it so", to)
		}
		return to, nil
	}
	first := slices.Index(history, now)
	if first == 0 {
		return "", fmt.Errorf("nothing was promoted before %s; --to names another that was", now)
	}
	return history[first-1], nil
}
