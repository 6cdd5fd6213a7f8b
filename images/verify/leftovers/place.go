// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package leftovers

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// place is a region of the account.
type place struct {
	region  string
	ec2     *ec2.Client
	secrets *secretsmanager.Client
	events  *eventbridge.Client
	alarms  *cloudwatch.Client
	logs    *cloudwatchlogs.Client
}

func (a Account) in(region string) place {
	cfg := a.cfg.Copy()
	cfg.Region = region
	return place{region, ec2.NewFromConfig(cfg), secretsmanager.NewFromConfig(cfg),
		eventbridge.NewFromConfig(cfg), cloudwatch.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg)}
}

// find is in the order in which AWS lets things go.
func (p place) find(ctx context.Context, before time.Time) ([]Leftover, error) {
	return findOld(ctx, before, []finder{
		p.instances, p.addresses, p.interfaces, p.groups, p.tables, p.subnets, p.gateways, p.vpcs, p.keys,
		p.secretsOf, p.rules, p.alarmsOf, p.logGroups, p.logPolicies,
	})
}
