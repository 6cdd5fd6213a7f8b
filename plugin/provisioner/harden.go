// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"context"
	"fmt"
)

// harden leaves no account that a password opens.
func harden(ctx context.Context, g *guest) error {
	out := g.say()
	defer out.Close()
	if err := g.script(ctx, out, "harden.sh"); err != nil {
		return fmt.Errorf("hardening accounts: %w", err)
	}
	return nil
}
