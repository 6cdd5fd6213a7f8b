// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestWhoHoldsTheLock is told to whoever waits for it, and to nobody when it is free
// again.
func TestWhoHoldsTheLock(t *testing.T) {
	folder := Folder{path: t.TempDir()}
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
	other, err := folder.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h := heldBy(folder.at("lock")); h.Process != os.Getpid() || !h.Until.IsZero() {
		t.Errorf("the lock is held by %+v", h)
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	if _, err := folder.Lock(interrupted); err == nil || !strings.Contains(err.Error(), "interrupted while another vpnami-pki was writing") {
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
