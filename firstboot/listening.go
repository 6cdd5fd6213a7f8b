// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

const (
	// listenWithin is longer than startWithin, which is for the daemon's start.
	listenWithin = startWithin + 5*time.Second
	// listenPoll is how long the machine itself may take to say that nobody
	// listens at a port of its own: it says so at once.
	listenPoll = 2 * time.Millisecond
)

// awaitListening returns when somebody listens where a client's configuration
// says that its server is.
func awaitListening(ctx context.Context, config string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	text, err := os.ReadFile(config)
	if err != nil {
		return fmt.Errorf("looking for the server of the client: %w", err)
	}
	network, address := serverOf(string(text))
	if address == "" {
		return fmt.Errorf("looking for the server of the client: %q names none", config)
	}
	look := time.NewTicker(listenPoll)
	defer look.Stop()
	for !listens(ctx, network, address) {
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the server of the client: nobody listens at %s %s within %s: %w", network, address, within, ctx.Err())
		}
	}
	return nil
}

// serverOf reads what [probeConf] has written.
func serverOf(config string) (network, address string) {
	network = "udp4"
	for line := range strings.Lines(config) {
		switch words := strings.Fields(line); {
		case len(words) == 2 && words[0] == "proto" && strings.HasPrefix(words[1], "tcp"):
			network = "tcp4"
		case len(words) == 3 && words[0] == "remote":
			address = net.JoinHostPort(words[1], words[2])
		}
	}
	return network, address
}

// listens tells whether somebody listens at a port of this machine. OpenVPN
// takes no notice of a datagram without a byte in it; where nobody is, the
// kernel refuses it, which the next call is told.
func listens(ctx context.Context, network, address string) bool {
	connection, err := (&net.Dialer{Timeout: listenPoll}).DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	defer connection.Close()
	if network == "tcp4" {
		return true
	}
	if _, err := connection.Write(nil); err != nil {
		return false
	}
	if connection.SetReadDeadline(time.Now().Add(listenPoll)) != nil {
		return false
	}
	_, err = connection.Read(make([]byte, 1))
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}
