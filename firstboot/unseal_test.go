// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func jsonError(kind, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "{\"__type\":\""+kind+"\",\"Message\":\""+message+"\"}")
	}
}

func TestUnseal(t *testing.T) {
	c, a := newCloud(t), newAuthority(t)
	a.person("client1")
	c.publish(a.seal(t))
	names := SecretNames{"vpn/office/server", "vpn/office/access"}
	got, warnings, err := unseal(t.Context(), newServices(newMetadata(c.at("imds"), c.dial), "ap-northeast-1", c.at("aws"), c.dial).secrets, names, time.Now())
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	if got.Server.Authority != "office" || len(got.Access.Roster) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestUnsealFails(t *testing.T) {
	for name, c := range map[string]struct {
		spoil         func(*cloud)
		state         State
		words, advice string
	}{
		"missing":       {func(c *cloud) { delete(c.secrets, "vpn/office/server") }, Waiting, "reading secret \"vpn/office/server\": ResourceNotFoundException", "vpnami-pki publish"},
		"head missing":  {func(c *cloud) { delete(c.secrets, "vpn/office/access") }, Waiting, "reading secret \"vpn/office/access\"", "vpnami-pki publish"},
		"shard missing": {func(c *cloud) { delete(c.secrets, "vpn/office/access/000") }, Waiting, "reading secret \"vpn/office/access/000\"", "vpnami-pki publish"},
		"denied":        {func(c *cloud) { c.spoil("secretsmanager", jsonError("AccessDeniedException", "not authorized")) }, Waiting, "AccessDeniedException: not authorized", "secretsmanager:GetSecretValue on \"vpn/office/server\""},
		"deleted": {func(c *cloud) {
			c.spoil("secretsmanager", jsonError("InvalidRequestException", "marked for deletion"))
		}, Waiting, "marked for deletion", "restore-secret"},
		"key denied": {func(c *cloud) { c.spoil("secretsmanager", jsonError("DecryptionFailure", "kms")) }, Waiting, "DecryptionFailure", "kms:Decrypt"},
		"throttled":  {func(c *cloud) { c.spoil("secretsmanager", jsonError("ThrottlingException", "slow down")) }, Waiting, "ThrottlingException", "by itself"},
		"500":        {func(c *cloud) { c.spoil("secretsmanager", status(500)) }, Waiting, "reading secret", "by itself"},
		"garbage": {func(c *cloud) {
			c.spoil("secretsmanager", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
		}, Waiting, "reading secret", "by itself"},
		"hanging":  {func(c *cloud) { c.spoil("secretsmanager", hang) }, Waiting, "reading secret", "a way to Secrets Manager"},
		"no role":  {func(c *cloud) { delete(c.metadata, "meta-data/iam/security-credentials/") }, Waiting, "the instance has no role", "instance profile"},
		"not json": {func(c *cloud) { c.secrets["vpn/office/server"] = []byte("{") }, Refused, "opening secret", "publish again"},
		"bad head": {func(c *cloud) { c.secrets["vpn/office/access"] = []byte("{\"schema\":2}") }, Refused, "opening secret \"vpn/office/access\"", "publish again"},
		"torn shard": {func(c *cloud) {
			c.secrets["vpn/office/access/000"] = slices.Concat(c.secrets["vpn/office/access/000"], []byte{0})
		}, Refused, "opening secrets", "publish again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stand := newCloud(t)
			stand.publish(newAuthority(t).seal(t))
			c.spoil(stand)
			ctx, cancel := context.WithTimeout(t.Context(), askWithin)
			defer cancel()
			began := time.Now()
			_, _, err := unseal(ctx, newServices(newMetadata(stand.at("imds"), stand.dial), "ap-northeast-1", stand.at("aws"), stand.dial).secrets, SecretNames{"vpn/office/server", "vpn/office/access"}, time.Now())
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("got %v, want words %q", err, c.words)
			}
			if state, advice := verdict(err); state != c.state || !strings.Contains(advice, c.advice) {
				t.Errorf("state %s, advice %q: want %s and %q (%v)", state, advice, c.state, c.advice, err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			t.Log(err)
		})
	}
}
