// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTogether: never more are asked at a time than allowed; of several that fail
// the first in order is the cause, whichever failed first; and none is begun
// after that.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := errors.New("first"), errors.New("second")
		var now, most, asked atomic.Int32
		question := func(takes time.Duration, err error) func() error {
			return func() error {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(takes)
				now.Add(-1)
				asked.Add(1)
				return err
			}
		}
		began := time.Now()
		err := together(2, question(3*time.Second, first), question(time.Second, nil), question(time.Second, second), question(time.Second, nil))
		if !errors.Is(err, first) || asked.Load() != 3 || most.Load() != 2 {
			t.Errorf("got %v, %d asked, %d at a time", err, asked.Load(), most.Load())
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
	})
	if err := together(1); err != nil {
		t.Error(err)
	}
}
