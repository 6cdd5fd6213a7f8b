// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// currentStage is asked for by name: what a plain GetSecretValue answers is
// not everywhere the version that was put last.
const currentStage = "AWSCURRENT"

// previousStage is what the version of before has, until there is yet another.
const previousStage = "AWSPREVIOUS"

// secretsAPI is what is used of AWS Secrets Manager.
type secretsAPI interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	DescribeSecret(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
	CreateSecret(context.Context, *secretsmanager.CreateSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.CreateSecretOutput, error)
	TagResource(context.Context, *secretsmanager.TagResourceInput, ...func(*secretsmanager.Options)) (*secretsmanager.TagResourceOutput, error)
	UpdateSecret(context.Context, *secretsmanager.UpdateSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretOutput, error)
	PutSecretValue(context.Context, *secretsmanager.PutSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error)
}

// vault is AWS Secrets Manager as a publish sees it.
type vault struct {
	api secretsAPI
	// waits is called where a call takes long, with what it does and of which secret.
	waits func(doing, id string)
}

// patience is how long a call may take before that is told.
const patience = 3 * time.Second

// watch tells of a call that takes long, until it has ended.
func (v vault) watch(doing, id string) (ended func() bool) {
	return time.AfterFunc(patience, func() {
		if v.waits != nil {
			v.waits(doing, id)
		}
	}).Stop
}

// credentialsWait bounds the look for credentials; the SDK's last resort, the
// metadata service of an EC2 instance, is slow to be absent.
const credentialsWait = 10 * time.Second

// openVault finds region and credentials where AWS's own tools do. Both are
// asked for here, so that what is missing is told before anything is read.
func openVault(ctx context.Context, region string) (vault, string, error) {
	var options []func(*config.LoadOptions) error
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return vault{}, "", fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return vault{}, "", errors.New("reading the AWS configuration: no region is set: use --region, AWS_REGION, or a profile with a region (AWS_PROFILE)")
	}
	if err := findCredentials(ctx, cfg); err != nil {
		return vault{}, "", err
	}
	return vault{api: secretsmanager.NewFromConfig(cfg, bounded)}, cfg.Region, nil
}

// attemptWait bounds one try of a call, of which the SDK makes three: a proxy that
// hangs is no answer, and a secret's 64 KiB go through 40 kbit/s in that time.
const attemptWait = 20 * time.Second

func bounded(options *secretsmanager.Options) {
	if client, is := options.HTTPClient.(*awshttp.BuildableClient); is {
		options.HTTPClient = client.WithTimeout(attemptWait)
	}
}

func findCredentials(ctx context.Context, cfg aws.Config) error {
	ctx, cancel := context.WithTimeout(ctx, credentialsWait)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return fmt.Errorf("looking for AWS credentials: %w: log in (\"aws sso login\"), or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", err)
	}
	return nil
}

// stored is a secret as it is there.
type stored struct {
	exists bool // there is a secret of that name, with or without a value
	arn    string
	value  bundle.Secret
	asked  time.Time // by AWS's clock; zero, where it did not say
}

func (s stored) holds(data []byte) bool { return bytes.Equal(s.value.Reveal(), data) }

// get reads a secret; one that is not there is no error.
func (v vault) get(ctx context.Context, id string) (stored, error) {
	defer v.watch("reading", id)()
	out, err := v.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(id), VersionStage: aws.String(currentStage)})
	if err == nil {
		asked, _ := awsmiddleware.GetServerTime(out.ResultMetadata)
		return stored{exists: true, arn: aws.ToString(out.ARN), value: valueOf(out), asked: asked}, nil
	}
	if _, none := errors.AsType[*types.ResourceNotFoundException](err); !none {
		return stored{}, explainAWS("reading", id, "secretsmanager:GetSecretValue", err)
	}
	// Either there is no secret, or one without a value, as Terraform makes it.
	described, err := v.api.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(id)})
	if _, none := errors.AsType[*types.ResourceNotFoundException](err); none {
		return stored{asked: askedAt(err)}, nil
	}
	if err != nil {
		return stored{}, explainAWS("looking at", id, "secretsmanager:DescribeSecret", err)
	}
	if described.DeletedDate != nil {
		return stored{}, markedDeleted(id)
	}
	asked, _ := awsmiddleware.GetServerTime(described.ResultMetadata)
	return stored{exists: true, arn: aws.ToString(described.ARN), asked: asked}, nil
}

// before reads the value that a secret had before the one that it has; empty, if there was
// none. What AWS does not give, as where a policy names the stage or the KMS key of then
// is gone, is no reason to end: refused says why.
func (v vault) before(ctx context.Context, id string) (value bundle.Secret, refused, err error) {
	defer v.watch("reading", id)()
	out, err := v.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(id), VersionStage: aws.String(previousStage)})
	_, none := errors.AsType[*types.ResourceNotFoundException](err)
	const doing, action = "reading what was before in", "secretsmanager:GetSecretValue"
	switch {
	case err == nil:
		value = valueOf(out)
	case none:
	case isForGood(err):
		refused = explainAWS(doing, id, action, err)
	default:
		return bundle.Secret{}, nil, explainAWS(doing, id, action, err)
	}
	return value, refused, nil
}

// isForGood tells whether the same question would have the same answer in a minute: what
// is only throttled, or asked with a session that has ended, is not lost
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html).
func isForGood(err error) bool {
	answer, is := errors.AsType[smithy.APIError](err)
	return is && slices.Contains([]string{"AccessDeniedException", "AccessDenied", "DecryptionFailure", "InvalidRequestException"}, answer.ErrorCode())
}

func valueOf(out *secretsmanager.GetSecretValueOutput) bundle.Secret {
	if out.SecretString != nil {
		return bundle.NewSecret([]byte(*out.SecretString))
	}
	return bundle.NewSecret(out.SecretBinary)
}

// askedAt is AWS's clock in an answer that is an error.
func askedAt(err error) time.Time {
	answer, is := errors.AsType[*smithyhttp.ResponseError](err)
	if !is || answer.Response == nil {
		return time.Time{}
	}
	asked, _ := http.ParseTime(answer.Response.Header.Get("Date")) // zero, where it does not say
	return asked
}

// put writes a secret, makes it when there is none, and returns its ARN.
func (v vault) put(ctx context.Context, c change, made dressing) (string, error) {
	defer v.watch("writing", c.id)()
	data := c.data.Reveal()
	if len(data) > bundle.MaxSecretBytes {
		return "", fmt.Errorf("writing secret %q: it has %d bytes; a secret holds at most %d", c.id, len(data), bundle.MaxSecretBytes)
	}
	var text *string
	var binary []byte
	if c.binary {
		binary = data
	} else {
		text = aws.String(string(data))
	}
	if c.exists {
		out, err := v.api.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: aws.String(c.id), SecretString: text, SecretBinary: binary})
		if err != nil {
			return "", explainAWS("writing", c.id, "secretsmanager:PutSecretValue", err)
		}
		return aws.ToString(out.ARN), nil
	}
	var kmsKey *string
	if made.kmsKey != "" {
		kmsKey = aws.String(made.kmsKey)
	}
	out, err := v.api.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Tags: made.tags, KmsKeyId: kmsKey,
		Name: aws.String(c.id), SecretString: text, SecretBinary: binary,
		Description: aws.String("vpnami: " + c.what + ", written by vpnami-pki publish"),
	})
	if err != nil {
		return "", explainAWS("making", c.id, "secretsmanager:CreateSecret", err)
	}
	return aws.ToString(out.ARN), nil
}

// explainAWS says what to do about what AWS refuses.
func explainAWS(doing, id, action string, err error) error {
	if _, is := errors.AsType[*types.InvalidRequestException](err); is && isMarkedDeleted(err) {
		return markedDeleted(id)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s secret %q: interrupted", doing, id)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s secret %q: AWS does not answer (is there a way out of this network?): %w", doing, id, err)
	}
	if refused, is := errors.AsType[smithy.APIError](err); is {
		switch refused.ErrorCode() {
		case "AccessDeniedException", "AccessDenied", "UnauthorizedException":
			return fmt.Errorf("%s secret %q: AWS denies it to these credentials: they need %s on it: %w", doing, id, action, err)
		case "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "InvalidSignatureException", "IncompleteSignature":
			return fmt.Errorf("%s secret %q: AWS does not take these credentials: log in again, and check AWS_PROFILE and the clock: %w", doing, id, err)
		}
	}
	return fmt.Errorf("%s secret %q: %w", doing, id, err)
}

func markedDeleted(id string) error {
	return fmt.Errorf("reading secret %q: it is marked deleted, and its name is taken until AWS removes it: restore it with \"aws secretsmanager restore-secret --secret-id %s\", or remove it now with \"aws secretsmanager delete-secret --force-delete-without-recovery --secret-id %s\"", id, id, id)
}
