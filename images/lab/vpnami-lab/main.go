// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Command vpnami-lab is the article's VPC on one machine: it makes it, shows
// it, lets one play in it, and takes it down. It runs on the engineer's own
// machine, as root.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Ctrl-C ends what runs; what was made is then taken down by those who made it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "vpnami-lab: %v\n", err)
		stop()
		os.Exit(1)
	}
}
