// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/plugin/osrelease"
)

// facts are what the guest is.
type facts struct {
	OS           string `json:"os"`
	ID           string `json:"id"`
	VersionID    string `json:"version_id"`
	Architecture string `json:"architecture"`

	release release
}

// identify asks the guest what it is, and whether we may act as root there.
func identify(ctx context.Context, g *guest) (facts, error) {
	text, err := g.ask(ctx, "cat /etc/os-release")
	if err != nil {
		return facts{}, fmt.Errorf("looking at the guest: %w", err)
	}
	os := osrelease.Parse(text)
	f := facts{OS: os["PRETTY_NAME"], ID: os["ID"], VersionID: os["VERSION_ID"]}
	if f.release, err = releaseOf(os); err != nil {
		return facts{}, err
	}
	arch, err := g.ask(ctx, "dpkg --print-architecture")
	if err != nil {
		return facts{}, fmt.Errorf("looking at the guest: %w", err)
	}
	f.Architecture = strings.TrimSpace(arch)
	uid, err := g.ask(ctx, "id -u")
	if err != nil {
		return facts{}, fmt.Errorf("looking at the guest: %w", err)
	}
	if strings.TrimSpace(uid) != "0" {
		if _, err := g.ask(ctx, "sudo -n true"); err != nil {
			return facts{}, errors.New("looking at the guest: its user is not root and sudo asks for a password; connect as root or as a user with NOPASSWD in sudoers")
		}
		g.sudo = "sudo -n "
	}
	g.note(fmt.Sprintf("%s, %s", f.OS, f.Architecture))
	return f, nil
}
