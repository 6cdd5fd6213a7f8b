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
	finish chan struct{} // closed by stop
	done   chan struct{} // closed when sightings is complete
	seen   sightings
}

// sightings are what a watch has seen, as times since the launch; -1: never.
type sightings struct {
	open time.Duration // first seen open
	last time.Duration // last seen open
	shut time.Duration // first seen not open after that
}

// afterword is how long a watch goes on, after it was told to stop, to see the
// port closed as well: a few probes more than one that is answered.
const afterword = 2 * time.Second

func watchPort(ctx context.Context, from *lab.Host, address string, launched time.Time) *portWatch {
	w := &portWatch{finish: make(chan struct{}), done: make(chan struct{}), seen: sightings{open: -1, last: -1, shut: -1}}
	go func() {
		defer close(w.done)
		var until <-chan time.Time
		finish := w.finish
		for {
			// A closed group gives no answer at all: 100 ms of silence.
			port, err := from.Probe(ctx, address, 100*time.Millisecond)
			if err == nil {
				w.seen.add(port, time.Since(launched))
			}
			if until != nil && w.seen.shut >= 0 {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-until:
				return
			case <-finish:
				finish, until = nil, time.After(afterword)
			case <-time.After(pause(w.seen.open)):
			}
		}
	}()
	return w
}

// pause is until the next probe: short until the port has opened, longer then,
// because every connection makes sshd fork, on the machine whose boot is timed.
func pause(open time.Duration) time.Duration {
	if open < 0 {
		return 20 * time.Millisecond
	}
	return 300 * time.Millisecond
}

func (s *sightings) add(port lab.Port, at time.Duration) {
	switch {
	case port == lab.PortOpen:
		if s.open < 0 {
			s.open = at
		}
		s.last, s.shut = at, -1
	case s.open >= 0 && s.shut < 0:
		s.shut = at
	}
}

// stop ends the watch and returns what it has seen.
func (w *portWatch) stop() sightings {
	close(w.finish)
	<-w.done
	return w.seen
}

func (s sightings) String() string {
	switch {
	case s.open < 0:
		return "it was never open"
	case s.shut < 0:
		return fmt.Sprintf("open from %s after the launch, and open still", seconds(s.open))
	}
	return fmt.Sprintf("open from %s to %s after the launch, silent from %s on", seconds(s.open), seconds(s.last), seconds(s.shut))
}
