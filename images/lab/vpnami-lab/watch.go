// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// portWatch probes a port from outside, from the launch on, so that the time
// in which it is open is seen on the wire.
type portWatch struct {
	cancel context.CancelFunc
	done   chan struct{}
	open   time.Duration // since the launch; -1: never
	last   time.Duration // last time that it was open
	shut   time.Duration // first time after that it was not; -1: not seen
}

func watchPort(ctx context.Context, from *lab.Host, address string, launched time.Time) *portWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &portWatch{cancel: cancel, done: make(chan struct{}), open: -1, shut: -1}
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			// A closed group gives no answer at all: 200 ms of silence.
			port, err := from.Probe(ctx, address, 200*time.Millisecond)
			at := time.Since(launched)
			switch {
			case err != nil:
			case port == lab.PortOpen:
				if w.open < 0 {
					w.open = at
				}
				w.last, w.shut = at, -1
			case w.open >= 0 && w.shut < 0:
				w.shut = at
			}
			select {
			case <-ctx.Done():
			case <-time.After(30 * time.Millisecond):
			}
		}
	}()
	return w
}

// stop ends the watch and tells when the port was first seen open, and when
// first closed after that; -1 for never.
func (w *portWatch) stop() (open, shut time.Duration) {
	w.cancel()
	<-w.done
	return w.open, w.shut
}

func (w *portWatch) tell(open, shut time.Duration) string {
	switch {
	case open < 0:
		return "it was never open"
	case shut < 0:
		return fmt.Sprintf("first seen open %s after the launch, still open when the first boot reported", seconds(open))
	}
	return fmt.Sprintf("open from %s to %s after the launch, silent from %s on", seconds(open), seconds(w.last), seconds(shut))
}
