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
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

// What has no tags that AWS could be asked for is known by its name, which begins with
// the launch's, or with a word of images/launch before it.
const (
	named    = "vpnami-" + prefix
	logGroup = "/aws/events/vpnami/"
)

func (a Account) secretsOf(ctx context.Context) (all []Leftover, err error) {
	in := &secretsmanager.ListSecretsInput{Filters: []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{secretFolder + prefix}}}}
	for pages := secretsmanager.NewListSecretsPaginator(a.secrets, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("secrets", err)
		}
		for _, s := range page.SecretList {
			name := aws.ToString(s.Name)
			all = append(all, Leftover{"secret", name, strings.TrimPrefix(name, secretFolder), func(ctx context.Context) error {
				_, err := a.secrets.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: s.ARN, ForceDeleteWithoutRecovery: aws.Bool(true)})
				return err
			}})
		}
	}
	return all, nil
}

func (a Account) profiles(ctx context.Context) (all []Leftover, err error) {
	for pages := iam.NewListInstanceProfilesPaginator(a.iam, &iam.ListInstanceProfilesInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("instance profiles", err)
		}
		for _, p := range page.InstanceProfiles {
			name := p.InstanceProfileName
			all = append(all, Leftover{"instance profile", aws.ToString(name), aws.ToString(name), func(ctx context.Context) error {
				for _, r := range p.Roles {
					if _, err := a.iam.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: r.RoleName}); err != nil {
						return err
					}
				}
				_, err := a.iam.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: name})
				return err
			}})
		}
	}
	return all, nil
}

func (a Account) roles(ctx context.Context) (all []Leftover, err error) {
	for pages := iam.NewListRolesPaginator(a.iam, &iam.ListRolesInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("roles", err)
		}
		for _, r := range page.Roles {
			name := r.RoleName
			all = append(all, Leftover{"role", aws.ToString(name), aws.ToString(name), func(ctx context.Context) error {
				inline, err := a.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: name})
				if err != nil {
					return err
				}
				for _, policy := range inline.PolicyNames {
					if _, err := a.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String(policy)}); err != nil {
						return err
					}
				}
				_, err = a.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
				return err
			}})
		}
	}
	return all, nil
}

func (a Account) policies(ctx context.Context) (all []Leftover, err error) {
	for pages := iam.NewListPoliciesPaginator(a.iam, &iam.ListPoliciesInput{Scope: iamtypes.PolicyScopeTypeLocal}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("policies", err)
		}
		for _, p := range page.Policies {
			all = append(all, Leftover{"policy", aws.ToString(p.PolicyName), aws.ToString(p.PolicyName), func(ctx context.Context) error {
				_, err := a.iam.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: p.Arn})
				return err
			}})
		}
	}
	return all, nil
}

func (a Account) rules(ctx context.Context) (all []Leftover, err error) {
	out, err := a.events.ListRules(ctx, &eventbridge.ListRulesInput{NamePrefix: aws.String(named)})
	if err != nil {
		return nil, reading("event rules", err)
	}
	for _, r := range out.Rules {
		name := r.Name
		all = append(all, Leftover{"event rule", aws.ToString(name), strings.TrimPrefix(aws.ToString(name), "vpnami-"), func(ctx context.Context) error {
			targets, err := a.events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: name})
			if err != nil {
				return err
			}
			var ids []string
			for _, t := range targets.Targets {
				ids = append(ids, aws.ToString(t.Id))
			}
			if len(ids) > 0 {
				if _, err := a.events.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: name, Ids: ids}); err != nil {
					return err
				}
			}
			_, err = a.events.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: name})
			return err
		}})
	}
	return all, nil
}

func (a Account) alarmsOf(ctx context.Context) (all []Leftover, err error) {
	for pages := cloudwatch.NewDescribeAlarmsPaginator(a.alarms, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String(named)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("alarms", err)
		}
		for _, m := range page.MetricAlarms {
			name := aws.ToString(m.AlarmName)
			all = append(all, Leftover{"alarm", name, strings.TrimPrefix(name, "vpnami-"), func(ctx context.Context) error {
				_, err := a.alarms.DeleteAlarms(ctx, &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{name}})
				return err
			}})
		}
	}
	return all, nil
}

func (a Account) logGroups(ctx context.Context) (all []Leftover, err error) {
	for pages := cloudwatchlogs.NewDescribeLogGroupsPaginator(a.logs, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String(logGroup + prefix)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("log groups", err)
		}
		for _, g := range page.LogGroups {
			name := g.LogGroupName
			all = append(all, Leftover{"log group", aws.ToString(name), strings.TrimPrefix(aws.ToString(name), logGroup), func(ctx context.Context) error {
				_, err := a.logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: name})
				return err
			}})
		}
	}
	return all, nil
}

func (a Account) logPolicies(ctx context.Context) (all []Leftover, err error) {
	out, err := a.logs.DescribeResourcePolicies(ctx, &cloudwatchlogs.DescribeResourcePoliciesInput{})
	if err != nil {
		return nil, reading("log resource policies", err)
	}
	for _, p := range out.ResourcePolicies {
		name := p.PolicyName
		all = append(all, Leftover{"log resource policy", aws.ToString(name), strings.TrimPrefix(aws.ToString(name), "vpnami-"), func(ctx context.Context) error {
			_, err := a.logs.DeleteResourcePolicy(ctx, &cloudwatchlogs.DeleteResourcePolicyInput{PolicyName: name})
			return err
		}})
	}
	return all, nil
}
