// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// unreached are the faults of the way to a service.
func unreached(part string) []fault {
	var faults []fault
	for name, way := range map[string]func(context.Context) error{
		"connection refused":  func(context.Context) error { return syscall.ECONNREFUSED },
		"network unreachable": func(context.Context) error { return syscall.ENETUNREACH },
		"packets lost":        func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		faults = append(faults, fault{part: part, name: name,
			spoil: func(g *gateway) { g.cloud.block(part, way) },
			mend:  func(g *gateway) { g.cloud.block(part, nil) }})
	}
	return append(faults, fault{part: part, name: "absent for 10 s", lasts: late,
		spoil: func(g *gateway) { g.cloud.block(part, until(late, syscall.ECONNREFUSED)) },
		mend:  func(g *gateway) { g.cloud.block(part, nil) }})
}

// late is how long after it is first asked for something comes that is late.
const late = 10 * time.Second

// until fails for some time.
func until(passed time.Duration, err error) func(context.Context) error {
	end := sync.OnceValue(func() time.Time { return time.Now().Add(passed) })
	return func(context.Context) error {
		if time.Now().Before(end()) {
			return err
		}
		return nil
	}
}

// answers are the faults of a service, or of one of its calls, that speaks HTTP.
// It says what AWS says when a right is missing, or a request too many.
func answersOf(part, call string, missing, throttled http.HandlerFunc) []fault {
	var faults []fault
	for name, handler := range map[string]http.HandlerFunc{
		"hanging": hang,
		"401":     status(401), "403": missing, "403 without a word": status(403), "404": status(404),
		"429": status(429), "throttled": throttled, "500": status(500), "503": status(503),
		"garbage": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>\x00") },
		"empty":   status(200),
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{\"")
		},
		"never ending": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "{\"")
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		},
		"reset": func(w http.ResponseWriter, _ *http.Request) {
			if taken, ok := w.(http.Hijacker); ok {
				if connection, _, err := taken.Hijack(); err == nil {
					_ = connection.Close()
				}
			}
		},
	} {
		if handler == nil {
			continue
		}
		faults = append(faults, fault{part: part, name: name,
			spoil: func(g *gateway) { g.cloud.spoil(call, handler) },
			mend:  func(g *gateway) { g.cloud.spoil(call, nil) }})
	}
	return append(faults, fault{part: part, name: "slow",
		spoil: func(g *gateway) { g.cloud.slow(call, 800*time.Millisecond) },
		mend:  func(g *gateway) { g.cloud.slow(call, 0) }})
}

// secretsManagerSays and ec2Says are AWS's own words: error codes and messages
// as the API references and the service authorization reference have them.
func secretsManagerSays(code, words string) http.HandlerFunc { return jsonError(code, words) }

func ec2Says(status int, code, words string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors></Response>", code, words)
	}
}

func ec2Denied(action string) http.HandlerFunc {
	return ec2Says(http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation. No identity-based policy allows the ec2:"+action+" action")
}

// ofServices are the faults of the three services that are asked.
func ofServices() []fault {
	tooMany := ec2Says(http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded.")
	var faults []fault
	faults = append(faults, unreached("imds")...)
	faults = append(faults, answersOf("imds", "imds", nil, nil)...)
	// The role's credentials come from there too, and are asked for later.
	faults = append(faults, answersOf("imds credentials", "meta-data/iam/security-credentials/gateway", nil, nil)...)
	faults = append(faults, fault{part: "imds credentials", name: "no role",
		spoil: func(g *gateway) { delete(g.cloud.metadata, "meta-data/iam/security-credentials/") },
		mend:  func(g *gateway) { g.cloud.metadata["meta-data/iam/security-credentials/"] = "gateway" }})
	faults = append(faults, unreached("secretsmanager")...)
	faults = append(faults, answersOf("secretsmanager", "secretsmanager",
		secretsManagerSays("AccessDeniedException", "User: arn:aws:sts::123456789012:assumed-role/gateway/i-0123456789abcdef0 is not authorized to perform: secretsmanager:GetSecretValue on resource: vpn/office/server because no identity-based policy allows the secretsmanager:GetSecretValue action"),
		secretsManagerSays("ThrottlingException", "Rate exceeded"))...)
	for name, handler := range map[string]http.HandlerFunc{
		"403 of the key":      secretsManagerSays("AccessDeniedException", "Access to KMS is not allowed"),
		"decryption failure":  secretsManagerSays("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text using the provided KMS key."),
		"marked deleted":      secretsManagerSays("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion."),
		"credentials expired": secretsManagerSays("ExpiredTokenException", "The security token included in the request is expired"),
		"clock out of step":   secretsManagerSays("InvalidSignatureException", "Signature expired: 20200101T000000Z is now earlier than 20260101T000000Z"),
	} {
		faults = append(faults, fault{part: "secretsmanager", name: name,
			spoil: func(g *gateway) { g.cloud.spoil("secretsmanager", handler) },
			mend:  func(g *gateway) { g.cloud.spoil("secretsmanager", nil) }})
	}
	faults = append(faults, unreached("ec2")...)
	for _, action := range []string{"DescribeSecurityGroups", "DescribeSecurityGroupRules", "RevokeSecurityGroupIngress", "CreateTags"} {
		for _, f := range answersOf("ec2 "+action, action, ec2Denied(action), tooMany) {
			spoil := f.spoil
			f.spoil = func(g *gateway) {
				spoil(g)
				// For a revocation, somebody has opened SSH again.
				open := func(r Rule) bool { return r.ID == "sgr-0ssh" }
				if action == "RevokeSecurityGroupIngress" && !slices.ContainsFunc(g.cloud.rules, open) {
					g.cloud.rules = append(g.cloud.rules, openSSH("sgr-0ssh"))
				}
			}
			faults = append(faults, f)
		}
	}
	return faults
}

// slow lets a service, or one of its calls, take its time to answer.
func (c *cloud) slow(call string, by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pauses[call] = by
}

// published are the faults of what is in the secrets.
func published() []fault {
	day := 24 * time.Hour
	ended := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = c.NotBefore.AddDate(-2, 0, 0), time.Now().Add(-day)
	}
	early := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(7 * day) }
	server := func(g *gateway, edits ...func(*x509.Certificate)) {
		certificate, key := g.people.Issue("vpn.example.com", x509.ExtKeyUsageServerAuth, edits...)
		g.people.server.Certificate, g.people.server.Key = certificate, bundle.NewSecret(key)
	}
	probe := func(g *gateway, edits ...func(*x509.Certificate)) {
		certificate, key := g.people.Issue(bundle.ProbeName, x509.ExtKeyUsageClientAuth, edits...)
		g.people.server.Probe.Certificate, g.people.server.Probe.Key = certificate, bundle.NewSecret(key)
	}
	list := func(g *gateway, from, to time.Duration) {
		g.people.access.CRL = g.people.SignCRL(&x509.RevocationList{Number: big.NewInt(2), ThisUpdate: time.Now().Add(from), NextUpdate: time.Now().Add(to)})
	}
	var faults []fault
	// Everything is published anew when it is over: what was there, with a
	// higher number.
	add := func(name string, change func(*gateway)) {
		faults = append(faults, fault{part: "secret", name: name, spoil: change, mend: func(g *gateway) {
			g.people.server, g.people.access = g.good.server, g.good.access
			g.people.access.CRL = g.people.CRL(9)
			g.publishAgain(9)
		}})
	}
	raw := func(name string, change func(secrets map[string][]byte)) {
		add(name, func(g *gateway) { g.publishAgain(2); change(g.cloud.secrets) })
	}
	seal := func(name string, change func(*gateway)) {
		add(name, func(g *gateway) { change(g); g.publishAgain(2) })
	}
	const serverID, accessID = "vpn/office/server", "vpn/office/access"
	raw("absent", func(s map[string][]byte) { clear(s) })
	raw("head absent", func(s map[string][]byte) { delete(s, accessID) })
	raw("shard absent", func(s map[string][]byte) { delete(s, bundle.ShardID("vpn/office", 0)) })
	raw("empty", func(s map[string][]byte) { s[serverID] = nil })
	raw("wrong", func(s map[string][]byte) { s[serverID] = []byte(`{"user": "admin"}`) })
	raw("garbage", func(s map[string][]byte) { s[accessID] = []byte("\x00\xff") })
	raw("truncated", func(s map[string][]byte) { s[serverID] = s[serverID][:len(s[serverID])/2] })
	raw("head and server exchanged", func(s map[string][]byte) { s[serverID], s[accessID] = s[accessID], s[serverID] })
	raw("shard of another publish", func(s map[string][]byte) { s[bundle.ShardID("vpn/office", 0)] = []byte("x") })
	add("head of another publish", func(g *gateway) {
		g.publishAgain(2)
		head := g.cloud.secrets[accessID]
		server(g)
		g.publishAgain(3)
		g.cloud.secrets[accessID] = head
	})
	seal("certificate expired", func(g *gateway) { server(g, ended) })
	seal("certificate of the future", func(g *gateway) { server(g, early) })
	seal("certificate of another CA", func(g *gateway) {
		g.people.server.Certificate, _ = newAuthority(g.t).Issue("vpn.example.com", x509.ExtKeyUsageServerAuth)
	})
	seal("certificate revoked", func(g *gateway) { g.people.access.CRL = g.people.CRL(2, g.people.server.Certificate.SerialNumber) })
	seal("certificate for clients", func(g *gateway) {
		certificate, key := g.people.Issue("vpn.example.com", x509.ExtKeyUsageClientAuth)
		g.people.server.Certificate, g.people.server.Key = certificate, bundle.NewSecret(key)
	})
	seal("key of another certificate", func(g *gateway) {
		_, key := g.people.Issue("x", x509.ExtKeyUsageServerAuth)
		g.people.server.Key = bundle.NewSecret(key)
	})
	seal("probe expired", func(g *gateway) { probe(g, ended) })
	seal("probe of the future", func(g *gateway) { probe(g, early) })
	seal("probe's key of another", func(g *gateway) { g.people.server.Probe.Key = g.people.server.Key })
	seal("probe's tls-crypt-v2 of another server", func(g *gateway) { g.people.server.Probe.TLSCryptV2 = bundle.NewSecret(newAuthority(g.t).ClientKey()) })
	seal("CA expired", func(g *gateway) {
		other := authorityOf(bundletest.New(g.t, time.Now(), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(-2*day), time.Now().Add(-day) }))
		g.people.server, g.people.access = other.server, other.access
	})
	seal("CRL past its next update", func(g *gateway) { list(g, -60*day, -30*day) })
	seal("CRL of the future", func(g *gateway) { list(g, 7*day, 37*day) })
	seal("CRL of another CA", func(g *gateway) { g.people.access.CRL = newAuthority(g.t).CRL(2) })
	seal("CRL older than the one in force", func(g *gateway) { g.people.access.CRL = g.people.CRL(0) })
	return faults
}
