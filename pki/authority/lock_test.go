// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// TestWhoHoldsTheLock is told to whoever waits for it, and to nobody when it is free
// again.
func TestWhoHoldsTheLock(t *testing.T) {
	folder := newFolder(t)
	release, err := folder.LockPublish(t.Context(), time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	var told Holder
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := folder.LockPublish(ctx, time.Minute, func(h Holder) { told = h }); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(process %d of ", os.Getpid())) {
		t.Errorf("a second publish: %v", err)
	}
	if told.Process != os.Getpid() || told.Until.Sub(told.Since) != time.Minute || !strings.Contains(told.String(), "at the latest") {
		t.Errorf("told %+v: %s", told, told)
	}
	// It keeps nobody from writing.
	_, other, err := folder.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h := heldBy(folder.at("lock")); h.Process != os.Getpid() || !h.Until.IsZero() {
		t.Errorf("the lock is held by %+v", h)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	if _, _, err := folder.Lock(interrupted); err == nil || !strings.Contains(err.Error(), ": interrupted") {
		t.Errorf("interrupted: %v", err)
	}
	if err := errors.Join(release(), other()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lock", "publish.lock"} {
		if h := heldBy(folder.at(name)); h.String() != "" {
			t.Errorf("%s is free, and says %s", name, h)
		}
	}
}

// TestReadBesideAWriter has another command stand between its two writes, of what is
// revoked and of the signed list: that is no damage. Broken off there, it is.
func TestReadBesideAWriter(t *testing.T) {
	folder := newFolder(t)
	issuer := unlock(t, folder, now)
	ann := revocableOf(t, folder, added(t, folder, "ann").Pair.Certificate)
	before, err := os.ReadFile(folder.at(caFile(1, "crl.pem")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Revoke([]Issuer{issuer}, Unspecified, ann); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(folder.at(caFile(1, "crl.pem")))
	if err != nil {
		t.Fatal(err)
	}
	between := func() {
		if err := Replace(folder.at(caFile(1, "crl.pem")), publicFile, before); err != nil {
			t.Error(err)
		}
	}
	between()
	if _, err := folder.CRLs(now); err == nil || !strings.Contains(err.Error(), "it lacks the certificate") {
		t.Errorf("a command was broken off: %v", err)
	}
	lock := flock.New(folder.at("lock")) // as another process has it, of another container, with the same number
	if held, err := lock.TryLock(); !held || err != nil {
		t.Fatal(held, err)
	}
	raw, err := json.Marshal(Holder{Process: os.Getpid(), By: operator(), Since: now})
	if err != nil {
		t.Fatal(err)
	}
	note(folder.at("lock"), raw)
	time.AfterFunc(200*time.Millisecond, func() {
		if err := errors.Join(Replace(folder.at(caFile(1, "crl.pem")), publicFile, after), lock.Unlock()); err != nil {
			t.Error(err)
		}
	})
	lists, err := folder.CRLs(now)
	if err != nil || len(lists) != 1 || len(lists[0].RevokedCertificateEntries) != 1 {
		t.Errorf("beside a command that writes: %v", err)
	}
	// Who writes itself does not wait for itself.
	between()
	writing, release, err := folder.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := writing.CRLs(now); err == nil || time.Since(begun) > quiet/2 {
		t.Errorf("the writer itself, after %s: %v", time.Since(begun), err)
	}
	// Nor once it has changed what is in force.
	if writing, err = writing.RenewServer([]Issuer{issuer}); err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	if _, err := writing.CRLs(now); err == nil || time.Since(begun) > quiet/2 {
		t.Errorf("the writer itself with other keys of the gateway, after %s: %v", time.Since(begun), err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
}
