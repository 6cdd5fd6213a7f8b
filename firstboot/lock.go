// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll: a wait is rare, and for a run of a second or two.
const lockPoll = 50 * time.Millisecond

// lock keeps the boot's run and a sync from working at the same time. The
// kernel lets go of it when the program ends, however it ends.
func (l layout) lock(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(l.state(), 0o755); err != nil { //nolint:gosec // everybody may read the result
		return nil, fmt.Errorf("making the folder of the state: %w", err)
	}
	// The folder itself: a file would have to be made, on a disk that may be full.
	file, err := os.Open(l.state())
	if err != nil {
		return nil, fmt.Errorf("locking the state: %w", err)
	}
	look := time.NewTicker(lockPoll)
	defer look.Stop()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking %q: %w", file.Name(), err), file.Close())
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, errors.Join(waitingFor(fmt.Errorf("locking %q: another vpnami-firstboot is at work: %w", file.Name(), ctx.Err()),
				"look at \"systemctl status 'vpnami-*'\""), file.Close())
		}
	}
}
