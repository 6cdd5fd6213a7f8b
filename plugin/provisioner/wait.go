// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// wait waits until nobody but us changes the guest.
func wait(ctx context.Context, g *guest, timeout time.Duration) error {
	// The script has the deadline; this one is for a guest that hangs.
	ctx, cancel := context.WithTimeout(ctx, timeout+closeDeadline)
	defer cancel()
	out := g.say()
	defer out.Close()
	if err := g.script(ctx, out, "wait.sh", strconv.Itoa(int(timeout.Seconds()))); err != nil {
		return fmt.Errorf("waiting for cloud-init and package locks: %w (option wait_timeout is %s)", err, timeout)
	}
	return nil
}
