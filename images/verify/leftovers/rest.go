// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package leftovers

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

// What has no tags that AWS could be asked for is known by its name, which begins with
// the launch's, or with a word of images/launch before it.
const (
	named    = "vpnami-" + prefix
	logGroup = "/aws/events/vpnami/"
)

func (p place) secretsOf(ctx context.Context) (all []Leftover, err error) {
	in := &secretsmanager.ListSecretsInput{Filters: []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{secretFolder + prefix}}}}
	for pages := secretsmanager.NewListSecretsPaginator(p.secrets, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("secrets", err)
		}
		for _, s := range page.SecretList {
			name := aws.ToString(s.Name)
			all = append(all, Leftover{p.region, "secret", name, strings.TrimPrefix(name, secretFolder), func(ctx context.Context) error {
				_, err := p.secrets.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: s.ARN, ForceDeleteWithoutRecovery: aws.Bool(true)})
				return err
			}})
		}
	}
	return all, nil
}

func (p place) rules(ctx context.Context) (all []Leftover, err error) {
	out, err := p.events.ListRules(ctx, &eventbridge.ListRulesInput{NamePrefix: aws.String(named)})
	if err != nil {
		return nil, reading("event rules", err)
	}
	for _, r := range out.Rules {
		name := r.Name
		all = append(all, Leftover{p.region, "event rule", aws.ToString(name), strings.TrimPrefix(aws.ToString(name), "vpnami-"), func(ctx context.Context) error {
			targets, err := p.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: name})
			if err != nil {
				return err
			}
			var ids []string
			for _, t := range targets.Targets {
				ids = append(ids, aws.ToString(t.Id))
			}
			if len(ids) > 0 {
				if _, err := p.events.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: name, Ids: ids}); err != nil {
					return err
				}
			}
			_, err = p.events.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: name})
			return err
		}})
	}
	return all, nil
}

func (p place) alarmsOf(ctx context.Context) (all []Leftover, err error) {
	for pages := cloudwatch.NewDescribeAlarmsPaginator(p.alarms, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String(named)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("alarms", err)
		}
		for _, m := range page.MetricAlarms {
			name := aws.ToString(m.AlarmName)
			all = append(all, Leftover{p.region, "alarm", name, strings.TrimPrefix(name, "vpnami-"), func(ctx context.Context) error {
				_, err := p.alarms.DeleteAlarms(ctx, &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{name}})
				return err
			}})
		}
	}
	return all, nil
}

func (p place) logGroups(ctx context.Context) (all []Leftover, err error) {
	for pages := cloudwatchlogs.NewDescribeLogGroupsPaginator(p.logs, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String(logGroup + prefix)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("log groups", err)
		}
		for _, g := range page.LogGroups {
			name := g.LogGroupName
			all = append(all, Leftover{p.region, "log group", aws.ToString(name), strings.TrimPrefix(aws.ToString(name), logGroup), func(ctx context.Context) error {
				_, err := p.logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: name})
				return err
			}})
		}
	}
	return all, nil
}

func (p place) logPolicies(ctx context.Context) (all []Leftover, err error) {
	out, err := p.logs.DescribeResourcePolicies(ctx, &cloudwatchlogs.DescribeResourcePoliciesInput{})
	if err != nil {
		return nil, reading("log resource policies", err)
	}
	for _, policy := range out.ResourcePolicies {
		name := policy.PolicyName
		all = append(all, Leftover{p.region, "log resource policy", aws.ToString(name), strings.TrimPrefix(aws.ToString(name), "vpnami-"), func(ctx context.Context) error {
			_, err := p.logs.DeleteResourcePolicy(ctx, &cloudwatchlogs.DeleteResourcePolicyInput{PolicyName: name})
			return err
		}})
	}
	return all, nil
}
