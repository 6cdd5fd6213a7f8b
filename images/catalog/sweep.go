// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/spf13/cobra"
)

const (
	// defaultKeep leaves the way back two promotions long.
	defaultKeep = 3
	// defaultAge: a month is time for somebody who bakes weekly to find out that
	// she needed an image of which nothing tells.
	defaultAge = 30
	// abandonedAfter is when nobody can be at work on a bake any more: its instance
	// ends itself after two hours (build_limit_minutes), and a copy to other
	// regions does not take a day.
	abandonedAfter = 24 * time.Hour
)

func (k *keeper) sweepCommand() *cobra.Command {
	var rule retention
	var days int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Remove AMIs that nobody needs, and what interrupted bakes left",
		Long: `Deregisters AMIs of vpnami and deletes their snapshots and parameters. It keeps

  - of each release and architecture, the newest ones (--keep),
  - what "latest" names and named before, as many (--keep): the way back,
  - what an instance that is not terminated was launched from,
  - what a launch template names in any of its versions, by id or by parameter,
  - what is shared with anybody, whose instances this account does not see,
  - what is protected from being deregistered,
  - what is younger than --older-than days.

It also removes what bears the tag of a bake that nobody is at work on any more, a
day after it began: instance, volume, key pair and security group; and snapshots of
vpnami whose AMI is gone.

It needs ec2:DescribeImages, DescribeImageAttribute, DescribeInstances,
DescribeLaunchTemplates, DescribeLaunchTemplateVersions, DescribeSnapshots,
DescribeVolumes, DescribeKeyPairs, DescribeSecurityGroups, DeregisterImage,
DeleteSnapshot, DeleteVolume, TerminateInstances, DeleteKeyPair, DeleteSecurityGroup,
and on the parameters ssm:GetParametersByPath, GetParameterHistory, DeleteParameter,
and ssm:GetParameter on those and on any that a launch template names in place of an
AMI.`,
		Example: `  vpnami-images sweep
  vpnami-images sweep --keep 5 --older-than 90 --apply
  vpnami-images sweep --json`,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rule.keep < 1 || days < 0 {
				return usage(cmd, "--keep is at least 1, --older-than at least 0")
			}
			if asJSON && k.apply {
				return usage(cmd, "--json tells what would be done; it does not go with --apply")
			}
			rule.age = time.Duration(days) * 24 * time.Hour
			ctx, cancel := context.WithTimeout(cmd.Context(), verbWait)
			defer cancel()
			return k.sweep(ctx, rule, asJSON)
		},
	}
	cmd.Flags().IntVar(&rule.keep, "keep", defaultKeep, "how many of the newest, and of those once latest, stay in any case")
	cmd.Flags().IntVar(&days, "older-than", defaultAge, "days that an AMI stays in any case")
	cmd.Flags().BoolVar(&asJSON, "json", false, "say what would be done for a program")
	k.applyFlag(cmd)
	return cmd
}

// retention is what stays whatever else is so.
type retention struct {
	keep int
	age  time.Duration
}

// seen is what a sweep has read.
type seen struct {
	images     []image // the newest of a line first
	parameters map[string]string
	histories  map[line][]string   // of latest, the oldest first
	uses       map[string][]string // by AMI
	sharers    map[string][]string // by AMI
}

// verdict tells why an image stays; one without a reason goes.
type verdict struct {
	image
	Stays []string `json:"stays"`
}

// judge decides. It is the only place that does.
func judge(s seen, rule retention, now time.Time) []verdict {
	var all []verdict
	nth := map[line]int{}
	for _, i := range s.images {
		nth[i.line()]++
		v := verdict{image: i, Stays: []string{}}
		stays := func(format string, args ...any) { v.Stays = append(v.Stays, fmt.Sprintf(format, args...)) }
		if nth[i.line()] <= rule.keep {
			stays("it is one of the %d newest", rule.keep)
		}
		if back := lastDistinct(s.histories[i.line()], rule.keep); slices.Contains(back, i.ID) {
			if back[0] == i.ID {
				stays("it is latest")
			} else {
				stays("it was latest, and is the way back")
			}
		}
		for _, u := range s.uses[i.ID] {
			stays("%s uses it", u)
		}
		for _, w := range s.sharers[i.ID] {
			stays("%s may launch it", w)
		}
		if i.Protected {
			stays("it is protected from being deregistered")
		}
		if now.Sub(i.Created) < rule.age {
			stays("it is younger than %d days", int(rule.age.Hours()/24))
		}
		all = append(all, v)
	}
	return all
}

// lastDistinct is the last n different values, the last first.
func lastDistinct(values []string, n int) []string {
	var last []string
	for _, v := range slices.Backward(values) {
		if !slices.Contains(last, v) {
			last = append(last, v)
		}
		if len(last) == n {
			break
		}
	}
	return last
}

func (k *keeper) sweep(ctx context.Context, rule retention, asJSON bool) error {
	a, err := openAccount(ctx, k.region)
	if err != nil {
		return err
	}
	s := shelf{a.ssm, k.parameters}
	read, err := look(ctx, a, s)
	if err != nil {
		return err
	}
	abandoned, err := readLeftovers(ctx, a.ec2, read.images, k.now().Add(-abandonedAfter))
	if err != nil {
		return err
	}
	verdicts := judge(read, rule, k.now())
	if asJSON {
		return k.sayJSON(struct {
			AMIs      []verdict  `json:"amis"`
			Leftovers []leftover `json:"leftovers"`
		}{verdicts, append([]leftover{}, abandoned...)})
	}
	var changes []change
	for _, v := range verdicts {
		if len(v.Stays) > 0 {
			k.say("%s: %s stays: %s", a.region, v.image, strings.Join(v.Stays, "; "))
			continue
		}
		changes = append(changes, removal(a.ec2, s, v.image, read.parameters))
	}
	for _, l := range abandoned {
		changes = append(changes, l.removal(a.ec2))
	}
	if len(changes) == 0 {
		k.say("%s: there is nothing to remove", a.region)
		return nil
	}
	if err := k.carryOut(ctx, a.region, changes); err != nil {
		return err
	}
	k.adviseApply()
	return nil
}

// look reads all that the decision needs, before anything is done.
func look(ctx context.Context, a account, s shelf) (seen, error) {
	read := seen{histories: map[line][]string{}, sharers: map[string][]string{}}
	var err error
	if read.images, err = readImages(ctx, a.ec2); err != nil {
		return seen{}, err
	}
	if read.parameters, err = s.all(ctx); err != nil {
		return seen{}, err
	}
	for name := range read.parameters {
		if l, is := s.lineOf(name); is {
			if read.histories[l], err = s.history(ctx, name); err != nil {
				return seen{}, err
			}
		}
	}
	if read.uses, err = readUses(ctx, a.ec2, s); err != nil {
		return seen{}, err
	}
	for _, i := range read.images {
		if read.sharers[i.ID], err = readSharers(ctx, a.ec2, i); err != nil {
			return seen{}, err
		}
	}
	return read, nil
}

type removalAPI interface {
	DeregisterImage(context.Context, *ec2.DeregisterImageInput, ...func(*ec2.Options)) (*ec2.DeregisterImageOutput, error)
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error)
}

// removal takes an image away: first what names it, then it, then what it is made
// of. What a crash leaves, the next sweep finds. Minutes may lie between the look and
// this, in which somebody went back to it.
func removal(api removalAPI, s shelf, i image, parameters map[string]string) change {
	return change{
		fmt.Sprintf("deregister %s and delete %s", i, strings.Join(i.Snapshots, ", ")),
		func(ctx context.Context) error {
			now, err := s.get(ctx, s.name(i.line(), latest))
			if err != nil {
				return err
			}
			if now == i.ID {
				return fmt.Errorf("deregistering %s: it has become latest since this sweep began: sweep again", i)
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
