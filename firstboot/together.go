// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"sync"
	"sync/atomic"
)

// together asks all questions at once, at most so many at a time, and returns
// the error of the first that failed, in the order in which they stand and not
// in which they were answered: the same fault always has the same cause. When
// one has failed, no other is begun.
func together(most int, questions ...func() error) error {
	errs := make([]error, len(questions))
	room := make(chan struct{}, most)
	var asking sync.WaitGroup
	var failed atomic.Bool
	for i, ask := range questions {
		room <- struct{}{}
		if failed.Load() {
			break
		}
		asking.Go(func() {
			if errs[i] = ask(); errs[i] != nil {
				failed.Store(true)
			}
			<-room
		})
	}
	asking.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
