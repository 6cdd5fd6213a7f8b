// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
day after it began: instance, volume, key pair and security group; snapshots of vpnami
whose AMI is gone; and the AMIs that a bake left when it failed after it had copied
them (copy_to), which count among no newest ones. Packer has given tags to those, and
not yet to their snapshots: a role that may delete only what has tags, as that of
images/iam/sweep.json, is told how they get them.

It looks at one region. What was copied to others is swept there (--region).

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
		v := verdict{image: i, Stays: []string{}}
		stays := func(format string, args ...any) { v.Stays = append(v.Stays, fmt.Sprintf(format, args...)) }
		if i.Unfinished {
			if began, err := time.Parse(buildLayout, i.Build); err != nil || now.Sub(began) < abandonedAfter {
				stays("its bake, which began at %q, may be at work on it", i.Build)
			}
		} else {
			nth[i.line()]++
			if nth[i.line()] <= rule.keep {
				stays("it is one of the %d newest", rule.keep)
			}
			if now.Sub(i.Created) < rule.age {
				stays("it is younger than %d days", int(rule.age.Hours()/24))
			}
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
	if err := addCopies(ctx, a.ec2, read.images); err != nil {
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
