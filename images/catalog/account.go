// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

const (
	// credentialsWait bounds the look for credentials; the SDK's last resort, the
	// metadata service of an EC2 instance, is slow to be absent.
	credentialsWait = 10 * time.Second
	// verbWait bounds a verb. Terminating an instance takes minutes; reading all
	// of a large account's instances takes one.
	verbWait = 15 * time.Minute
)

// account is the caller's account in one region.
type account struct {
	region string
	ec2    *ec2.Client
	ssm    *ssm.Client
}

// openAccount finds region and credentials where AWS's own tools do, and says
// what is missing before anything is read.
func openAccount(ctx context.Context, region string) (account, error) {
	var options []func(*config.LoadOptions) error
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return account{}, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return account{}, errors.New("reading the AWS configuration: no region is set: use --region, AWS_REGION, or a profile with a region (AWS_PROFILE)")
	}
	ctx, cancel := context.WithTimeout(ctx, credentialsWait)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return account{}, fmt.Errorf("looking for AWS credentials: %w: log in (\"aws sso login\"), or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", err)
	}
	return account{region: cfg.Region, ec2: ec2.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg)}, nil
}
