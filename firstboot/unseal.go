// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// secrets is what unseal needs of *secretsmanager.Client.
type secrets interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// unseal reads the secrets and opens them. What is told of first is the server
// secret: it is the one that is missing when nothing has been published.
func unseal(ctx context.Context, service secrets, names SecretNames, now time.Time) (bundle.Bundle, []bundle.Warning, error) {
	server, rawHead, err := readTop(ctx, service, names)
	if err != nil {
		return bundle.Bundle{}, nil, err
	}
	head, err := bundle.OpenHead(rawHead)
	if err != nil {
		return bundle.Bundle{}, nil, refusing(fmt.Errorf("opening secret %q: %w", names.Access, err), publishAdvice)
	}
	shards := make([][]byte, len(head.Shards))
	reading := make([]func() error, len(shards))
	for i, shard := range head.Shards {
		reading[i] = readInto(ctx, service, shard.ID, &shards[i])
	}
	if err := together(atOnce, reading...); err != nil {
		return bundle.Bundle{}, nil, err
	}
	opened, warnings, err := bundle.Open(server, rawHead, shards, now)
	if err != nil {
		return bundle.Bundle{}, nil, refusing(fmt.Errorf("opening secrets %q and %q: %w", names.Server, names.Access, err), publishAdvice)
	}
	return opened, warnings, nil
}

// readTop reads the two secrets that the launch names. The head has a digest of
// every other: where both are as they were, so is all that is published.
func readTop(ctx context.Context, service secrets, names SecretNames) (server, head []byte, err error) {
	err = together(atOnce, readInto(ctx, service, names.Server, &server), readInto(ctx, service, names.Access, &head))
	return server, head, err
}

func readInto(ctx context.Context, service secrets, id string, into *[]byte) func() error {
	return func() (err error) {
		*into, err = readSecret(ctx, service, id)
		return err
	}
}

const publishAdvice = "publish again with \"vpnami-pki publish\"; it is read again by itself"

func readSecret(ctx context.Context, service secrets, id string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	output, err := service.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{
		SecretId: aws.String(id),
		// Asked for by name: the role's policy may be limited to this stage.
		VersionStage: aws.String("AWSCURRENT"),
	})
	if err != nil {
		return nil, waitingFor(fmt.Errorf("reading secret %q: %w", id, explain(err)), "%s", secretAdvice(id, err))
	}
	switch {
	case output.SecretString != nil:
		return []byte(*output.SecretString), nil
	case len(output.SecretBinary) > 0:
		return output.SecretBinary, nil
	default:
		return nil, waitingFor(fmt.Errorf("reading secret %q: it has no value", id), publishAdvice)
	}
}

const keyAdvice = "allow the instance's role kms:Decrypt with the key of the secret"

// secretAdvice says what to do about each of the errors that are documented at
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
func secretAdvice(id string, err error) string {
	var api smithy.APIError
	allow := fmt.Sprintf("allow the instance's role secretsmanager:GetSecretValue on %q", id)
	if credentialsFailed(err) {
		return "launch the instance with an instance profile whose role may read the secret; it is tried again by itself"
	}
	if !errors.As(err, &api) {
		return "the instance needs a way to Secrets Manager: a public address, a NAT gateway or a VPC endpoint; it is tried again by itself"
	}
	switch api.ErrorCode() {
	case "ResourceNotFoundException":
		return fmt.Sprintf("make and fill it with \"vpnami-pki publish\", or correct \"secret\" in the user-data; %q is read again by itself", id)
	case "AccessDeniedException":
		// What it says of the key, it says by the same code.
		if strings.Contains(api.ErrorMessage(), "KMS") {
			return keyAdvice
		}
		return allow
	case "UnrecognizedClientException":
		return allow
	case "ExpiredTokenException", "InvalidSignatureException":
		return "look at the machine's clock (\"timedatectl\"): AWS takes no request that is minutes off; it is tried again by itself"
	case "InvalidRequestException":
		return fmt.Sprintf("the secret may be marked as deleted: restore it with \"aws secretsmanager restore-secret --secret-id %s\" and publish", id)
	case "DecryptionFailure":
		return keyAdvice
	default:
		if httpStatus(err) == http.StatusForbidden {
			return allow
		}
		return "it is tried again by itself"
	}
}
