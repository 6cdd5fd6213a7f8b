// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"context"
	"fmt"
)

// check has the program itself look at the image that it is in. What it refuses
// is not made an image.
func check(ctx context.Context, g *guest) error {
	out := g.say()
	defer out.Close()
	if err := g.run(ctx, g.sudo+programPath+" check-image", out); err != nil {
		return fmt.Errorf("checking the image, which is not fit to be launched: %w; what is wrong stands above", err)
	}
	return nil
}
