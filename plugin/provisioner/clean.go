// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"context"
	"fmt"
)

// clean removes what makes this guest itself: its keys, its identity, its traces.
// Our own folder goes too.
func clean(ctx context.Context, g *guest) error {
	out := g.say()
	defer out.Close()
	if err := g.script(ctx, out, "clean.sh"); err != nil {
		return fmt.Errorf("cleaning the guest: %w", err)
	}
	g.close(ctx)
	return nil
}
