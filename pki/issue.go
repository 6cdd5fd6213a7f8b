// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/roster"
)

func (d *desk) issueCommand() *cobra.Command {
	var flags profileFlags
	var from, ip, note string
	var groups []string
	cmd := &cobra.Command{
		Use:   "issue NAME...",
		Short: "Make a person's certificate and profile",
		Long: `Makes for each NAME a key, a certificate and a profile NAME.ovpn, which a person
imports into Tunnelblick or any other OpenVPN client, and adds the person to the
roster. The gateway lets them in after the next publish.

The profile holds the only copy of the person's key. It is written with mode
0600, and an existing file is never overwritten.

Names are of A-Z a-z 0-9 . _ - , begin with a letter or a digit, have 64
characters at most, and are what the gateway's log shows. Who was revoked, or
whose certificates have ended, can be issued to anew; the old certificates stay
out.

--from reads many people from a list, CSV with the columns name, address,
groups (with semicolons between), note, or YAML (.yaml) with the same keys.

--csr takes a certificate request of the person, whose key then never leaves
their machine: the profile names it as NAME.key.

--format lays the profile out for other hands: tblk for Tunnelblick, p12 with
certificates and key under a password, files for those who keep them apart.`,
		Example: `  vpnami-pki issue client1 --remote vpn.example.com
  vpnami-pki issue suzuki sato --remote 203.0.113.10:1194 --out new --days 90
  vpnami-pki issue suzuki --ip 10.0.255.10 --group ops --note "Tokyo"
  vpnami-pki issue --from people.csv --out profiles
  vpnami-pki issue sato --csr sato.csr
  vpnami-pki issue sato --format tblk --template office.tmpl`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && from == "":
				return usage(cmd, "no NAME is given: give one or more, such as \"client1\", or --from FILE")
			case len(args) > 0 && from != "":
				return usage(cmd, "NAME and --from are given: give one of the two")
			case from != "" && (ip != "" || note != "" || len(groups) > 0):
				return usage(cmd, "--ip, --group and --note are in the list when --from is given")
			case ip != "" && ip != "auto" && len(args) != 1:
				return usage(cmd, "--ip %s is for one person: give one NAME, or --ip auto", ip)
			}
			return flags.checkRequest(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, order, err := d.ordered(cmd, &flags, issuingFor)
			if err != nil {
				return err
			}
			if from != "" {
				if order.people, err = readRoster(from); err != nil {
					return err
				}
			}
			address, err := roster.ParseAddress(ip)
			if err == nil {
				err = roster.CheckAttributes(groups, note)
			}
			if err != nil {
				return usage(cmd, "%w", err)
			}
			for _, name := range args {
				order.people = append(order.people, roster.Entry{Name: name, Address: address, Groups: groups, Note: note})
			}
			return d.issue(cmd.Context(), folder, order)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&from, "from", "", "file with a list of people, CSV or YAML")
	cmd.Flags().StringVar(&ip, "ip", "", "tunnel address that is the person's own, or \"auto\" for the next that is free")
	cmd.Flags().StringArrayVar(&groups, "group", nil, "group of the person; may be repeated")
	cmd.Flags().StringVar(&note, "note", "", "note about the person")
	d.folderFlag(cmd)
	d.passphraseFlag(cmd)
	return cmd
}

const keyInPKCS12 = "--format p12 and --csr are given: a .p12 holds the key, which --csr leaves with the person"

func readRoster(path string) ([]roster.Entry, error) {
	text, err := readUpTo(path, roster.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("reading the list of people: %w", err)
	}
	entries, err := roster.Parse(path, text)
	if err != nil {
		return nil, fmt.Errorf("reading the list of people %q: %w", path, err)
	}
	return entries, nil
}

func (d *desk) issue(ctx context.Context, folder authority.Folder, order issuing) error {
	err := planned(ctx, folder, func(folder authority.Folder) error { _, err := d.planIssue(folder, order); return err })
	if err != nil {
		return err
	}
	return d.withKeys(ctx, folder, ofSigner, func(folder authority.Folder, issuers []authority.Issuer, _ authority.Keys) error {
		people, err := d.planIssue(folder, order) // again, now that nobody else writes
		if err != nil {
			return err
		}
		if err := d.issueAll(ctx, folder, issuers[0], order, people); err != nil {
			return err
		}
		d.say("added to the roster: %s; \"vpnami-pki publish\" lets them in", some(namesOf(people)))
		return nil
	})
}

// planIssue finds what would fail, before anything is asked or written, and
// makes of the wanted people those of the roster.
func (d *desk) planIssue(folder authority.Folder, order issuing) ([]authority.Person, error) {
	if err := order.checkOnce(); err != nil {
		return nil, err
	}
	var people []authority.Person
	for _, wanted := range order.people {
		if !filepath.IsLocal(wanted.Name) && bundle.CheckName(wanted.Name) == nil {
			return nil, fmt.Errorf("issuing for %q: this system keeps the name for a device, and files cannot bear it: choose another", wanted.Name)
		}
		if err := folder.CheckNew(wanted.Name, order.now); err != nil {
			return nil, order.amongMany(folder, wanted.Name, fmt.Errorf("issuing for %q: %w", wanted.Name, err))
		}
		person, _, err := folder.Person(wanted.Name)
		if err != nil {
			return nil, err
		}
		person.Name = wanted.Name
		if len(wanted.Groups) > 0 {
			person.Groups = wanted.Groups
		}
		if wanted.Note != "" {
			person.Note = wanted.Note
		}
		people = append(people, person)
	}
	if err := assignAll(folder, order.people, people); err != nil {
		return nil, err
	}
	if err := order.checkRequest(folder, people[0]); err != nil {
		return nil, err
	}
	return people, order.checkFiles(folder, people)
}

// assignAll gives people the addresses that they are to have: first those that
// are given, so that "auto" takes none of them.
func assignAll(folder authority.Folder, wanted []roster.Entry, people []authority.Person) error {
	if !slices.ContainsFunc(wanted, func(e roster.Entry) bool { return e.Address != (roster.Address{}) }) {
		return nil // the roster is not read for nothing
	}
	taken, err := folder.Addresses()
	if err != nil {
		return err
	}
	for _, auto := range []bool{false, true} {
		for i, e := range wanted {
			if e.Address == (roster.Address{}) || e.Address.Auto != auto {
				continue
			}
			if people[i].Address, err = assign(folder, e.Address, people[i].Address, taken); err != nil {
				return fmt.Errorf("issuing for %q: %w", e.Name, err)
			}
		}
	}
	return nil
}

// assign finds the address that somebody is to have, and takes it.
func assign(folder authority.Folder, wanted roster.Address, had netip.Addr, taken map[netip.Addr]bool) (netip.Addr, error) {
	plan := planOf(folder)
	if had.IsValid() {
		if wanted.Auto || wanted.Own == had {
			return had, nil
		}
		delete(taken, had)
	}
	address := wanted.Own
	if wanted.Auto {
		var err error
		if address, err = plan.Free(taken); err != nil {
			return netip.Addr{}, fmt.Errorf("giving an address: %w", err)
		}
	} else if err := plan.CheckOwn(address); err != nil {
		return netip.Addr{}, fmt.Errorf("giving the address %s: %w", address, err)
	}
	if taken[address] {
		return netip.Addr{}, fmt.Errorf("giving the address %s: somebody has it already; see \"vpnami-pki list\"", address)
	}
	taken[address] = true
	return address, nil
}

// readSmall reads a file of no more than a certificate request has.
func readSmall(path string) ([]byte, error) { return readUpTo(path, 64<<10) }

// readUpTo reads a file that may be a pipe, or without an end.
func readUpTo(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%q is a folder", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%q has more than %d bytes, which is the limit", path, most)
	}
	return text, err
}
