// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package leftovers ends what a boot verification on AWS made, by what AWS itself has
// of it: when the verification was killed, or its machine with Terraform's state is
// gone, nobody else knows what there is.
package leftovers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

const (
	// Tag is on all that a launch makes; its value is the launch's name.
	Tag    = "vpnami:launch"
	prefix = "verify-"
	layout = "20060102t150405z"
)

// Name is the name of a verification's launch: it tells when it began, and is in the
// name or the tags of everything that belongs to it.
func Name(began time.Time) string { return prefix + began.UTC().Format(layout) }

// Secret is the beginning of the names of its secrets.
func Secret(name string) string { return secretFolder + name }

const secretFolder = "vpnami-verify/" //nolint:gosec // the beginning of a name, no secret

// launchOf is the name of the verification that a name or a tag's value begins with,
// and when it began.
func launchOf(text string) (name string, began time.Time, ok bool) {
	if len(text) < len(prefix)+len(layout) || !strings.HasPrefix(text, prefix) {
		return "", time.Time{}, false
	}
	name = text[:len(prefix)+len(layout)]
	began, err := time.Parse(layout, name[len(prefix):])
	return name, began, err == nil
}

// Account is where verifications run.
type Account struct {
	ec2     *ec2.Client
	iam     *iam.Client
	secrets *secretsmanager.Client
	events  *eventbridge.Client
	alarms  *cloudwatch.Client
	logs    *cloudwatchlogs.Client
}

// Open makes the clients.
func Open(cfg aws.Config) Account {
	return Account{ec2.NewFromConfig(cfg), iam.NewFromConfig(cfg), secretsmanager.NewFromConfig(cfg),
		eventbridge.NewFromConfig(cfg), cloudwatch.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg)}
}

// Leftover is one thing that a verification made.
type Leftover struct {
	Kind, ID string
	Launch   string // the verification

	end func(context.Context) error
}

func (l Leftover) String() string { return fmt.Sprintf("%s %s of %s", l.Kind, l.ID, l.Launch) }

// finder finds what there is of one kind, of whatever launch.
type finder func(context.Context) ([]Leftover, error)

// finders are in the order in which AWS lets things go.
func (a Account) finders() []finder {
	return []finder{
		a.instances, a.addresses, a.interfaces, a.groups, a.tables, a.subnets, a.gateways, a.vpcs, a.keys,
		a.secretsOf, a.profiles, a.roles, a.policies, a.rules, a.alarmsOf, a.logGroups, a.logPolicies,
	}
}

// Find finds what is left of verifications that began before that time.
func (a Account) Find(ctx context.Context, before time.Time) ([]Leftover, error) {
	var all []Leftover
	for _, find := range a.finders() {
		found, err := find(ctx)
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			if name, began, ok := launchOf(l.Launch); ok && began.Before(before) {
				l.Launch = name
				all = append(all, l)
			}
		}
	}
	return all, nil
}

// End ends it all and tells of each. What cannot be ended does not keep the rest.
func (a Account) End(ctx context.Context, before time.Time, tell func(string)) error {
	all, err := a.Find(ctx, before)
	if err != nil {
		return fmt.Errorf("looking for what earlier verifications left: %w", err)
	}
	var failed []error
	for _, l := range all {
		if err := l.end(ctx); err != nil {
			failed = append(failed, fmt.Errorf("ending %s: %w", l, err))
			continue
		}
		tell("ended " + l.String())
	}
	return errors.Join(failed...)
}
