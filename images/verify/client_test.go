// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab || aws || rehearse

package verify

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// What a test does from a client's side, wherever the gateway runs.

// within gives a context that ends with the test or after d, whichever is first.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// joined is a session of the profile, which ends with the test.
func joined(t *testing.T, client *lab.Host, profile string, patience time.Duration) *lab.Session {
	t.Helper()
	session, err := client.Connect(within(t, patience), profile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	return session
}

// looks asserts what a port looks like to who waits so long for an answer.
func looks(t *testing.T, from *lab.Host, address netip.AddrPort, want lab.Port, patience time.Duration) {
	t.Helper()
	got, err := from.Probe(within(t, patience+10*time.Second), address.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s from %s is %s, want %s", address, from.Name(), got, want)
	}
}
