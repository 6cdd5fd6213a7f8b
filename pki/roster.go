// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/roster"
)

func (d *desk) rosterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "roster",
		Short: "Change what the roster has of people",
		Long:  `Changes a person's own tunnel address, groups and note. The certificates stay.`,
		Args:  exactly(0, "\"set NAME\""),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(d.rosterSetCommand())
	return cmd
}

func (d *desk) rosterSetCommand() *cobra.Command {
	var ip, note string
	var groups []string
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change a person's address, groups or note",
		Long: `Changes what is given and leaves the rest. --ip none and --group none take the
address or the groups away, --note "" the note.

People's own addresses are of the lower half of the tunnel network, which is that
of "init --network"; the upper half is the gateway's to give.`,
		Example: `  vpnami-pki roster set client1 --ip 10.0.255.10 --group ops
  vpnami-pki roster set client1 --ip none --note "left Tokyo"`,
		Args: exactly(1, "one NAME, such as \"client1\""),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			var changes []amendment
			if cmd.Flags().Changed("ip") {
				address := roster.Address{}
				if ip != "none" {
					if address, err = roster.ParseAddress(ip); err != nil || address == (roster.Address{}) {
						return usage(cmd, "--ip is %q: give an IPv4 address, \"auto\" or \"none\"", ip)
					}
				}
				changes = append(changes, setAddress(folder, address))
			}
			if cmd.Flags().Changed("group") {
				if len(groups) == 1 && groups[0] == "none" {
					groups = nil
				}
				changes = append(changes, func(p *authority.Person) error { p.Groups = groups; return nil })
			}
			if cmd.Flags().Changed("note") {
				changes = append(changes, func(p *authority.Person) error { p.Note = note; return nil })
			}
			if len(changes) == 0 {
				return usage(cmd, "nothing is to be changed: give --ip, --group or --note")
			}
			if err := roster.CheckAttributes(groups, note); err != nil {
				return usage(cmd, "%w", err)
			}
			return d.setPerson(cmd.Context(), folder, args[0], changes)
		},
	}
	cmd.Flags().StringVar(&ip, "ip", "", "tunnel address of the person's own, \"auto\" for the next that is free, or \"none\"")
	cmd.Flags().StringArrayVar(&groups, "group", nil, "group of the person, in place of those before; may be repeated; or \"none\"")
	cmd.Flags().StringVar(&note, "note", "", "note about the person")
	d.folderFlag(cmd)
	return cmd
}

// amendment changes one thing of a person.
type amendment func(*authority.Person) error

func setAddress(folder authority.Folder, wanted roster.Address) amendment {
	return func(p *authority.Person) error {
		if wanted == (roster.Address{}) {
			p.Address = netip.Addr{}
			return nil
		}
		taken, err := folder.Addresses()
		if err != nil {
			return err
		}
		p.Address, err = assign(folder, wanted, p.Address, taken)
		return err
	}
}

func (d *desk) setPerson(ctx context.Context, folder authority.Folder, name string, changes []amendment) error {
	folder, release, err := folder.Lock(ctx)
	if err != nil {
		return err
	}
	return errors.Join(func() error {
		d.swept(folder.SweepBeside(d.now()))
		person, err := member(folder, name)
		if err != nil {
			return fmt.Errorf("changing %q: %w", name, err)
		}
		for _, change := range changes {
			if err := change(&person); err != nil {
				return fmt.Errorf("changing %q: %w", name, err)
			}
		}
		if err := folder.Change(d.now(), person); err != nil {
			return err
		}
		// It is done, whatever became of what is revoked.
		standing, doubts, err := standingOf(folder, d.now(), person)
		for _, doubt := range doubts {
			d.warn("%v", doubt)
		}
		if err == nil {
			d.showPerson(personToShow(person, standing, d.now()))
		} else {
			d.say("changed %s", person.Name)
		}
		d.sayPublish(folder)
		return nil
	}(), release())
}
