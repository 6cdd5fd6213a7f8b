// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

func (d *desk) migrationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migration",
		Short: "Let profiles of another program connect for a while",
		Long: `Profiles that easy-rsa's users have are without tls-crypt-v2, and a gateway takes
profiles with it or without, never both. While the window is open it takes those
without:

  open    the gateway does without tls-crypt-v2, and with less protection from
          strangers, from the next publish on
  renew   profiles made now connect to it, and also once the window is closed
  close   the gateway wants tls-crypt-v2 again; who has only an old profile is
          cut off from the next publish on

OpenVPN before 2.4 does not connect to either.`,
		Example: `  vpnami-pki migration open --folder office
  vpnami-pki migration status --folder office
  vpnami-pki migration close --folder office`,
		Args: exactly(0, "\"open\", \"status\" or \"close\""),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		d.windowCommand(window{
			verb: "open", short: "Have the gateway take old profiles", wrapping: bundle.NoWrapping, cuts: authority.Wrapped,
			done: "the window is open: from the next publish on the gateway takes old profiles, and new ones made from now on",
		}),
		d.migrationStatusCommand(),
		d.windowCommand(window{
			verb: "close", short: "Have the gateway want tls-crypt-v2 again", wrapping: bundle.TLSCryptV2, cuts: authority.Unwrapped,
			done: "the window is closed: from the next publish on the gateway wants tls-crypt-v2",
		}))
	return cmd
}

// window is a change of the window for old profiles.
type window struct {
	verb, short string
	wrapping    bundle.Wrapping
	cuts        authority.Profile // who has only such profiles is cut off
	done        string
}

func (d *desk) windowCommand(w window) *cobra.Command {
	var cut bool
	cmd := &cobra.Command{
		Use: w.verb, Short: w.short,
		Long:    w.short + ". It is refused while somebody would be cut off, unless --cut says that they are to be.",
		Example: "  vpnami-pki migration " + w.verb + " --folder office",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			cutting := refuseCut
			if cut {
				cutting = d.tellCut
			}
			return d.moveWindow(cmd.Context(), folder, w, cutting)
		},
	}
	cmd.Flags().BoolVar(&cut, "cut", false, "do it although people are cut off")
	d.folderFlag(cmd)
	return cmd
}

func (d *desk) moveWindow(ctx context.Context, folder authority.Folder, w window, cutting func(window, []authority.Person) (tell func(), err error)) error {
	current, release, err := folder.Lock(ctx)
	if err != nil {
		return err
	}
	return errors.Join(func() error {
		d.swept(current.SweepBeside(d.now()))
		if current.Migrating() == (w.wrapping == bundle.NoWrapping) {
			return fmt.Errorf("changing the window for old profiles: it is %s already", map[string]string{"open": "open", "close": "closed"}[w.verb])
		}
		people, err := current.Only(d.now(), w.cuts)
		if err != nil {
			return err
		}
		tell := func() {}
		if len(people) > 0 {
			if tell, err = cutting(w, people); err != nil {
				return err
			}
		}
		moved, err := current.SetWrapping(d.now(), w.wrapping)
		if err != nil {
			return err
		}
		tell()
		d.say("%s", w.done)
		d.sayPublish(moved)
		return nil
	}(), release())
}

func refuseCut(w window, people []authority.Person) (tell func(), err error) {
	return nil, fmt.Errorf("changing the window for old profiles: to %s it would cut off %s: %s: renew them first, or say --cut", w.verb, plural(len(people), "person", "people"), some(namesOf(people)))
}

// tellCut returns what is to be said once they are cut off.
func (d *desk) tellCut(_ window, people []authority.Person) (tell func(), err error) {
	return func() { d.warn("cut off from the next publish on: %s", some(namesOf(people))) }, nil
}

func (d *desk) migrationStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Tell whether the window is open, and who has only an old profile",
		Long:    "Tells whether the window for old profiles is open, and who has no other.",
		Example: "  vpnami-pki migration status --folder office --json",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			people, err := folder.Only(d.now(), authority.Unwrapped)
			if err != nil {
				return err
			}
			names := append([]string{}, namesOf(people)...)
			if asJSON {
				return d.encode(struct {
					Open bool     `json:"open"`
					Old  []string `json:"only_old_profiles"`
				}{folder.Migrating(), names})
			}
			state := "closed: old profiles do not connect"
			if folder.Migrating() {
				state = "open: old profiles connect"
			}
			d.say("the window is %s", state)
			for _, p := range people {
				if p.CommonName != "" {
					d.say("  %s  (%s)  has only an old profile", p.Name, shown(p.CommonName))
					continue
				}
				d.say("  %s  has only an old profile", p.Name)
			}
			if len(people) == 0 {
				d.say("nobody has only an old profile")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "an object, for programs")
	d.folderFlag(cmd)
	return cmd
}
