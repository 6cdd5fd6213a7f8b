// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// dressing is what a secret has beside its value: tags, and the KMS key under
// which AWS encrypts it. What is not given stays as it is.
type dressing struct {
	tags   []types.Tag
	kmsKey string // ARN, alias or id
}

func (w dressing) isZero() bool { return len(w.tags) == 0 && w.kmsKey == "" }

// parseTags reads KEY=VALUE, within AWS's limits:
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Tag.html
func parseTags(texts []string) ([]types.Tag, error) {
	const longestKey, longestValue, most = 128, 256, 50
	var tags []types.Tag
	for _, text := range texts {
		key, value, found := strings.Cut(text, "=")
		switch {
		case !found || key == "":
			return nil, fmt.Errorf("%q is no tag: give KEY=VALUE, such as \"team=network\"", text)
		case len([]rune(key)) > longestKey || len([]rune(value)) > longestValue:
			return nil, fmt.Errorf("the tag %q is too long: a key has at most %d characters, a value %d", text, longestKey, longestValue)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return nil, fmt.Errorf("the tag %q: keys that begin with \"aws:\" are AWS's own", text)
		case slices.ContainsFunc(tags, func(t types.Tag) bool { return *t.Key == key }):
			return nil, fmt.Errorf("the tag %q is given twice", key)
		}
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	if len(tags) > most {
		return nil, fmt.Errorf("%d tags are given, AWS takes at most %d", len(tags), most)
	}
	return tags, nil
}

// redressing is what is to be changed beside the value of a secret that is
// there.
type redressing struct {
	id     string
	tags   []types.Tag
	kmsKey string
}

func (r redressing) String() string {
	var words []string
	for _, t := range r.tags {
		words = append(words, fmt.Sprintf("tag %s=%s", *t.Key, *t.Value))
	}
	if r.kmsKey != "" {
		words = append(words, "encrypted under "+r.kmsKey)
	}
	return r.id + "  " + strings.Join(words, ", ")
}

// dress finds what is to be changed beside the values.
func (p *publication) dress(ctx context.Context, v vault, wanted dressing) error {
	p.dressing = wanted
	if wanted.isZero() {
		return nil
	}
	ids := []string{bundle.ServerID(p.prefix), bundle.AccessID(p.prefix)}
	for i := range p.sealed.Shards {
		ids = append(ids, bundle.ShardID(p.prefix, i))
	}
	for _, id := range ids {
		if slices.ContainsFunc(p.changes, func(c change) bool { return c.id == id && !c.exists }) {
			continue // it is made so
		}
		there, err := v.api.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(id)})
		if err != nil {
			return explainAWS("looking at", id, "secretsmanager:DescribeSecret", err)
		}
		r := redressing{id: id}
		for _, t := range wanted.tags {
			if !slices.ContainsFunc(there.Tags, func(has types.Tag) bool {
				return aws.ToString(has.Key) == *t.Key && aws.ToString(has.Value) == *t.Value
			}) {
				r.tags = append(r.tags, t)
			}
		}
		if wanted.kmsKey != "" && !sameKMSKey(aws.ToString(there.KmsKeyId), wanted.kmsKey) {
			r.kmsKey = wanted.kmsKey
		}
		if len(r.tags) > 0 || r.kmsKey != "" {
			p.redressings = append(p.redressings, r)
		}
	}
	return nil
}

// sameKMSKey tells whether a secret is under a wanted key already. AWS tells an
// ARN for an alias or an id, and nothing for its own key:
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DescribeSecret.html
func sameKMSKey(told, wanted string) bool {
	const awsOwn = "alias/aws/secretsmanager"
	return told == wanted || told == "" && wanted == awsOwn ||
		strings.HasPrefix(told, "arn:") && (strings.HasSuffix(told, ":"+wanted) || strings.HasSuffix(told, ":key/"+wanted))
}

// redress changes a secret that is there, before its value is put: the value is
// then encrypted under the new key.
func (v vault) redress(ctx context.Context, r redressing) error {
	if len(r.tags) > 0 {
		if _, err := v.api.TagResource(ctx, &secretsmanager.TagResourceInput{SecretId: aws.String(r.id), Tags: r.tags}); err != nil {
			return explainAWS("tagging", r.id, "secretsmanager:TagResource", err)
		}
	}
	if r.kmsKey != "" {
		if _, err := v.api.UpdateSecret(ctx, &secretsmanager.UpdateSecretInput{SecretId: aws.String(r.id), KmsKeyId: aws.String(r.kmsKey)}); err != nil {
			return explainAWS("choosing the KMS key of", r.id, "secretsmanager:UpdateSecret", err)
		}
	}
	return nil
}

// unused are the secrets of shards that this publish leaves without use.
func (p publication) unused(there remote) []string {
	var ids []string
	for i := len(p.sealed.Shards); i < len(there.headed.Shards); i++ {
		ids = append(ids, bundle.ShardID(p.prefix, i))
	}
	return ids
}
