// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/plugin/progress"
)

// install installs the packages of the guest's release and the user's own, and
// all updates, and returns the version of OpenVPN. Nothing of it is started on
// the guest.
func install(ctx context.Context, g *guest, r release, extra []string, timeout time.Duration) (openvpn string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("it took longer than option install_timeout allows, which is %s: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	packages := slices.Concat(r.Packages, extra)
	slices.Sort(packages)
	// apt-get takes "name-" for "and remove that".
	args := slices.Compact(packages)
	for _, p := range r.Removed {
		args = append(args, p+"-")
	}
	out := progress.New(g.note)
	if err := g.script(ctx, out, "install.sh", args...); err != nil {
		g.ui.Error("The last lines of apt-get:\n" + out.Tail())
		// The script's last line is often the least that went wrong.
		if cause := out.Cause(); cause != "" {
			return "", fmt.Errorf("installing packages on the guest: %w; it began with %q: can the guest reach its archives, and has it room?", err, cause)
		}
		return "", fmt.Errorf("installing packages on the guest: %w", err)
	}
	version, err := g.ask(ctx, "dpkg-query --show --showformat='${Version}' openvpn")
	if err != nil {
		return "", fmt.Errorf("asking for the version of openvpn: %w", err)
	}
	if !atLeast(version, r.OpenVPN) {
		return "", fmt.Errorf("installing packages on the guest: openvpn is %q, and %s has %s or newer; which archive does it come from?", version, r.Name, r.OpenVPN)
	}
	return version, nil
}

// atLeast compares the first two numbers of a version, which is what OpenVPN's
// features go by.
func atLeast(version, least string) bool {
	if _, after, ok := strings.Cut(version, ":"); ok {
		version = after // Debian's epoch
	}
	var got, want [2]int
	if _, err := fmt.Sscanf(version, "%d.%d", &got[0], &got[1]); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(least, "%d.%d", &want[0], &want[1]); err != nil {
		return false
	}
	return slices.Compare(got[:], want[:]) >= 0
}
