// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package leftovers

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// global finds what IAM has, in the order in which it lets things go, each with the
// region of its launch: this one where nothing tells of another.
func (a Account) global(ctx context.Context, before time.Time) ([]Leftover, error) {
	all, err := findOld(ctx, before, []finder{a.profiles, a.roles, a.policies})
	if err != nil {
		return nil, err
	}
	regions := map[string]string{} // by launch
	for _, l := range all {
		tags, err := a.tagsOf(ctx, l)
		if err != nil && !isGone(err) {
			return nil, reading("the tags of "+l.Kind+" "+l.ID, err)
		}
		for _, t := range tags {
			if aws.ToString(t.Key) == RegionTag {
				regions[l.Launch] = aws.ToString(t.Value)
			}
		}
	}
	for i, l := range all {
		if all[i].Region = regions[l.Launch]; all[i].Region == "" {
			all[i].Region = a.cfg.Region
		}
	}
	return all, nil
}

const (
	profileKind = "instance profile"
	roleKind    = "role"
	policyKind  = "policy"
)

// tagsOf asks for one thing: IAM's lists have no tags.
func (a Account) tagsOf(ctx context.Context, l Leftover) ([]types.Tag, error) {
	switch l.Kind {
	case profileKind:
		out, err := a.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &l.ID})
		if err != nil {
			return nil, err
		}
		return out.InstanceProfile.Tags, nil
	case roleKind:
		out, err := a.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &l.ID})
		if err != nil {
			return nil, err
		}
		return out.Role.Tags, nil
	}
	out, err := a.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &l.ID})
	if err != nil {
		return nil, err
	}
	return out.Policy.Tags, nil
}

func (a Account) profiles(ctx context.Context) (all []Leftover, err error) {
	for pages := iam.NewListInstanceProfilesPaginator(a.iam, &iam.ListInstanceProfilesInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("instance profiles", err)
		}
		for _, p := range page.InstanceProfiles {
			name := p.InstanceProfileName
			all = append(all, Leftover{"", profileKind, aws.ToString(name), aws.ToString(name), func(ctx context.Context) error {
				for _, r := range p.Roles {
					if _, err := a.iam.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: r.RoleName}); err != nil && !isGone(err) {
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
			all = append(all, Leftover{"", roleKind, aws.ToString(name), aws.ToString(name), func(ctx context.Context) error {
				inline, err := a.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: name})
				if err != nil {
					return err
				}
				for _, policy := range inline.PolicyNames {
					if _, err := a.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String(policy)}); err != nil && !isGone(err) {
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
	for pages := iam.NewListPoliciesPaginator(a.iam, &iam.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, reading("policies", err)
		}
		for _, p := range page.Policies {
			all = append(all, Leftover{"", policyKind, aws.ToString(p.Arn), aws.ToString(p.PolicyName), func(ctx context.Context) error {
				_, err := a.iam.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: p.Arn})
				return err
			}})
		}
	}
	return all, nil
}
