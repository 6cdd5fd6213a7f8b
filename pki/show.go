// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// shownCertificate is one certificate of a person, and its form with --json.
type shownCertificate struct {
	Serial    string     `json:"serial"`
	SHA256    string     `json:"sha256"`
	State     string     `json:"state"`
	NotBefore time.Time  `json:"not_before"`
	NotAfter  time.Time  `json:"not_after"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	CA        int        `json:"ca"`
}

// shownPerson is all that the authority knows of a person.
type shownPerson struct {
	Name         string             `json:"name"`
	CommonName   string             `json:"common_name,omitempty"` // of imported certificates
	Address      string             `json:"address,omitempty"`
	Groups       []string           `json:"groups,omitempty"`
	Note         string             `json:"note,omitempty"`
	Certificates []shownCertificate `json:"certificates"`
}

func (d *desk) showCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show one person with all of their certificates",
		Long:    `Shows what the roster has of a person, and every certificate they ever had.`,
		Example: "  vpnami-pki show client1 --folder office",
		Args:    exactly(1, "one NAME, such as \"client1\""),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			var shown shownPerson
			err = d.look(folder, func(folder authority.Folder) ([]error, error) {
				person, err := member(folder, args[0])
				if err != nil {
					return nil, fmt.Errorf("showing %q: %w", args[0], err)
				}
				standing, doubts, err := standingOf(folder, d.now(), person)
				shown = personToShow(person, standing, d.now())
				return doubts, err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return d.encode(shown)
			}
			d.showPerson(shown)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "an object, for programs")
	d.folderFlag(cmd)
	return cmd
}

func personToShow(p authority.Person, standing authority.Standing, now time.Time) shownPerson {
	out := shownPerson{Name: p.Name, CommonName: p.CommonName, Groups: p.Groups, Note: p.Note, Certificates: []shownCertificate{}}
	if p.Address.IsValid() {
		out.Address = p.Address.String()
	}
	for _, c := range p.Certificates {
		line := shownCertificate{Serial: c.Serial, SHA256: c.SHA256, State: stateOf(standing, c, now), NotBefore: c.NotBefore, NotAfter: c.NotAfter, CA: c.CA}
		if r, revoked := standing.Revocation(c); revoked {
			line.RevokedAt, line.Reason = &r.At, r.Reason.String()
		}
		out.Certificates = append(out.Certificates, line)
	}
	return out
}

func (d *desk) showPerson(p shownPerson) {
	d.say("name     %s", p.Name)
	if p.CommonName != "" {
		d.say("imported %+q", p.CommonName)
	}
	d.say("address  %s", orDash(p.Address))
	d.say("groups   %s", orDash(strings.Join(p.Groups, ", ")))
	d.say("note     %s", orDash(p.Note))
	for _, c := range p.Certificates {
		d.say("certificate %s", c.Serial)
		state := c.State
		if c.RevokedAt != nil {
			state += " on " + day(*c.RevokedAt) + " (" + c.Reason + ")"
		}
		d.say("  state   %s", state)
		d.say("  good    %s to %s", day(c.NotBefore), day(c.NotAfter))
		d.say("  sha256  %s", c.SHA256)
	}
}
