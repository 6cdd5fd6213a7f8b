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
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/cenkalti/backoff/v5"
)

const (
	latest = "latest"
	// imageType has AWS check that the value is an AMI that the account can use,
	// and lets a launch template name the parameter in place of an id.
	imageType = "aws:ec2:image"
	// acceptWait is how long AWS's check may take. It runs after PutParameter has
	// answered; its documentation names no time, and seconds are the rule.
	acceptWait = time.Minute
)

// parameterAPI is what is used of Systems Manager.
type parameterAPI interface {
	ssm.GetParametersByPathAPIClient
	ssm.GetParameterHistoryAPIClient
	GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
	PutParameter(context.Context, *ssm.PutParameterInput, ...func(*ssm.Options)) (*ssm.PutParameterOutput, error)
	DeleteParameter(context.Context, *ssm.DeleteParameterInput, ...func(*ssm.Options)) (*ssm.DeleteParameterOutput, error)
}

// shelf is the parameters that tell what is launched.
type shelf struct {
	api    parameterAPI
	prefix string
}

func (s shelf) name(l line, edition string) string {
	return s.prefix + "/" + l.String() + "/" + edition
}

// lineOf is the line that the name of a "latest" is of.
func (s shelf) lineOf(name string) (line, bool) {
	rest, found := strings.CutPrefix(name, s.prefix+"/")
	parts := strings.Split(rest, "/")
	if !found || len(parts) != 3 || parts[2] != latest {
		return line{}, false
	}
	return line{parts[0], parts[1]}, true
}

// get returns "" for a parameter that is not there, or not in the version that may
// stand after its name.
func (s shelf) get(ctx context.Context, name string) (string, error) {
	out, err := s.api.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name)})
	if _, missing := errors.AsType[*types.ParameterNotFound](err); missing {
		return "", nil
	}
	if _, missing := errors.AsType[*types.ParameterVersionNotFound](err); missing {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading parameter %q: %w", name, err)
	}
	return aws.ToString(out.Parameter.Value), nil
}

// all reads every parameter under the prefix: name to AMI.
func (s shelf) all(ctx context.Context) (map[string]string, error) {
	values := map[string]string{}
	pages := ssm.NewGetParametersByPathPaginator(s.api, &ssm.GetParametersByPathInput{Path: aws.String(s.prefix), Recursive: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the parameters under %q: %w", s.prefix, err)
		}
		for _, p := range page.Parameters {
			values[aws.ToString(p.Name)] = aws.ToString(p.Value)
		}
	}
	return values, nil
}

// history is what the parameter has named, the oldest first, none twice in
// succession. AWS keeps a hundred.
func (s shelf) history(ctx context.Context, name string) ([]string, error) {
	var all []types.ParameterHistory
	pages := ssm.NewGetParameterHistoryPaginator(s.api, &ssm.GetParameterHistoryInput{Name: aws.String(name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if _, missing := errors.AsType[*types.ParameterNotFound](err); missing {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the history of parameter %q: %w", name, err)
		}
		all = append(all, page.Parameters...)
	}
	slices.SortFunc(all, func(a, b types.ParameterHistory) int { return int(a.Version - b.Version) })
	var values []string
	for _, h := range all {
		values = append(values, aws.ToString(h.Value))
	}
	return slices.Compact(values), nil
}

// put writes a parameter and waits until AWS has accepted its value.
func (s shelf) put(ctx context.Context, name, value string, overwrite bool) error {
	_, err := s.api.PutParameter(ctx, &ssm.PutParameterInput{
		Name: aws.String(name), Value: aws.String(value), Type: types.ParameterTypeString,
		DataType: aws.String(imageType), Overwrite: aws.Bool(overwrite),
		Description: aws.String("AMI of vpnami; written by vpnami-images"),
	})
	if err != nil {
		return fmt.Errorf("writing parameter %q: %w", name, err)
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		now, err := s.get(ctx, name)
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		if now != value {
			return struct{}{}, fmt.Errorf("writing parameter %q: AWS has not accepted %q as an AMI within %s and it still is %q: can this account launch it in this region?", name, value, acceptWait, now)
		}
		return struct{}{}, nil
	}, backoff.WithMaxElapsedTime(acceptWait))
	return err
}

func (s shelf) remove(ctx context.Context, name string) error {
	_, err := s.api.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String(name)})
	if _, missing := errors.AsType[*types.ParameterNotFound](err); err != nil && !missing {
		return fmt.Errorf("deleting parameter %q: %w", name, err)
	}
	return nil
}
