// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

func (d *desk) revokeCommand() *cobra.Command {
	var serials []string
	var reason string
	var foreign bool
	cmd := &cobra.Command{
		Use:   "revoke NAME...",
		Short: "Take certificates back",
		Long: `Revokes every certificate of each NAME, those at their end too (a clock may have
been wrong), or with --serial the ones of those serial numbers, and signs the
CRL. It cannot be undone. The name is free again: issued anew, it has a new
certificate, and the old stays out.

With --foreign the serial numbers may be of certificates that are not kept here:
what another program signed with a CA that was taken over, and left no copy of
when it was.

The reason counts later: a key whose certificate was revoked is certified again
(--csr) only for affiliationChanged, superseded or cessationOfOperation, by which
nobody else has it.

The gateway learns of it by the next publish. There a revocation has no end: the
gateway keeps it also when the CRL is past its date.`,
		Example: `  vpnami-pki revoke client1 --reason keyCompromise
  vpnami-pki revoke --serial 94827364519283746551234567890123456789
  vpnami-pki revoke --serial 0x1A --foreign --reason superseded
  vpnami-pki publish --secret vpn/office`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && len(serials) == 0 {
				return usage(cmd, "no NAME is given: give one or more, such as \"client1\", or --serial")
			}
			if len(args) > 0 && len(serials) > 0 {
				return usage(cmd, "NAME and --serial are given: give one of the two")
			}
			if foreign && len(serials) == 0 {
				return usage(cmd, "--foreign is for certificates of other programs, which are known by --serial")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			why, err := authority.ParseReason(reason)
			if err != nil {
				return usage(cmd, "--reason: %w", err)
			}
			var numbers []*big.Int
			for _, s := range serials {
				number, err := parseSerial(s)
				if err != nil {
					return usage(cmd, "--serial: %w", err)
				}
				numbers = append(numbers, number)
			}
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			if foreign {
				return d.revokeForeign(cmd.Context(), folder, why, distinct(numbers))
			}
			return d.revoke(cmd.Context(), folder, why, revoking{args, distinct(numbers)})
		},
	}
	cmd.Flags().StringArrayVar(&serials, "serial", nil, "serial number of one certificate, decimal, or hexadecimal after 0x; may be repeated")
	cmd.Flags().StringVar(&reason, "reason", authority.Unspecified.String(), "why: "+strings.Join(authority.ReasonNames(), ", "))
	cmd.Flags().BoolVar(&foreign, "foreign", false, "the serial numbers may be of certificates that are not kept here: another program signed them")
	d.folderFlag(cmd)
	d.passphraseFlag(cmd)
	return cmd
}

func distinct(numbers []*big.Int) []*big.Int {
	slices.SortFunc(numbers, (*big.Int).Cmp)
	return slices.CompactFunc(numbers, func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
}

func (d *desk) revokeForeign(ctx context.Context, folder authority.Folder, reason authority.Reason, serials []*big.Int) error {
	if err := folder.CheckForeign(serials...); err != nil {
		return err
	}
	lost := slices.DeleteFunc(slices.Clone(serials), func(serial *big.Int) bool { _, err := folder.Kept(serial); return err == nil })
	// It may be known by what is published, or by the log, where a file was lost.
	if len(lost) > 0 && !folder.Imported() {
		d.warn("no CA of %q was taken over from another program, so all that it signed should be kept here: is the serial number right?", folder.Path())
	}
	return d.withIssuers(ctx, folder, func(folder authority.Folder, issuers []authority.Issuer, _ authority.Keys) error {
		if err := folder.CheckForeign(serials...); err != nil { // again, now that nobody else writes
			return err
		}
		over, err := folder.RevokeForeign(issuers, reason, serials...)
		d.tellTakenOver(over)
		if err != nil {
			return err
		}
		for _, serial := range serials {
			kept := ""
			if slices.ContainsFunc(lost, func(s *big.Int) bool { return s.Cmp(serial) == 0 }) {
				kept = ", of a certificate that is not kept here"
			}
			d.say("revoked serial %s%s  (%s)", serial, kept, reason)
		}
		d.sayPublish(folder)
		return nil
	})
}

// parseSerial reads a serial as OpenVPN shows it (decimal) or as openssl does
// (hexadecimal, here after 0x, colons allowed).
func parseSerial(s string) (*big.Int, error) {
	var number *big.Int
	var ok bool
	if digits, is := strings.CutPrefix(strings.ToLower(s), "0x"); is {
		number, ok = new(big.Int).SetString(strings.ReplaceAll(digits, ":", ""), 16)
	} else {
		number, ok = new(big.Int).SetString(s, 10)
	}
	if !ok || number.Sign() <= 0 {
		return nil, fmt.Errorf("%q is no serial number: give it decimal, or hexadecimal after 0x", s)
	}
	return number, nil
}

// revoking is what is to be revoked.
type revoking struct {
	names   []string
	serials []*big.Int
}

func (d *desk) revoke(ctx context.Context, folder authority.Folder, reason authority.Reason, what revoking) error {
	signers := func(folder authority.Folder) ([]int, error) {
		certificates, err := d.revocable(folder, what)
		if err != nil {
			return nil, err
		}
		return folder.SignersOf(certificates...)
	}
	return d.withKeys(ctx, folder, signers, func(folder authority.Folder, issuers []authority.Issuer, _ authority.Keys) error {
		certificates, err := d.revocable(folder, what) // again, now that nobody else writes
		if err != nil {
			return err
		}
		over, err := folder.Revoke(issuers, reason, certificates...)
		d.tellTakenOver(over)
		if err != nil {
			return err
		}
		for _, c := range certificates {
			d.say("revoked %s  serial %s  (%s)", shown(c.Name), c.Serial, reason)
		}
		d.sayPublish(folder)
		return nil
	})
}

// revocable finds the certificates and refuses those that cannot be revoked.
func (d *desk) revocable(folder authority.Folder, what revoking) ([]authority.Revocable, error) {
	standing, err := folder.Standing(d.now())
	if err != nil {
		return nil, err
	}
	var certificates []authority.Revocable
	for _, name := range what.names {
		found, err := unrevoked(folder, standing, name)
		if err != nil {
			return nil, fmt.Errorf("revoking %q: %w", name, err)
		}
		certificates = append(certificates, found...)
	}
	for _, serial := range what.serials {
		certificate, err := folder.Kept(serial)
		if err != nil {
			return nil, err
		}
		certificates = append(certificates, certificate)
	}
	seen := map[string]bool{}
	certificates = slices.DeleteFunc(certificates, func(c authority.Revocable) bool {
		twice := seen[c.Serial.String()]
		seen[c.Serial.String()] = true
		return twice
	})
	return certificates, folder.CheckRevocable(certificates...)
}

// member is the person of a name, written as it is in the roster: of imported names
// capitals tell people apart, and what is said of one must not be done to another.
func member(folder authority.Folder, name string) (authority.Person, error) {
	person, known, err := folder.Person(name)
	if err != nil || known && person.Name == name {
		return person, err
	}
	if name == "" {
		return authority.Person{}, errors.New("it is nobody's name: was a variable empty?")
	}
	people, err := folder.People()
	if err != nil {
		return authority.Person{}, err
	}
	for _, p := range people {
		if p.CommonName == name {
			return authority.Person{}, fmt.Errorf("that is the imported name of %q, who is called so here", p.Name)
		}
	}
	if known {
		return authority.Person{}, fmt.Errorf("the name is %q in the roster: write it so", person.Name)
	}
	return authority.Person{}, errors.New("nobody of that name is in the roster; see \"vpnami-pki list\"")
}

// unrevoked are the certificates of a person with which they could come in, whatever
// the clock says.
func unrevoked(folder authority.Folder, standing authority.Standing, name string) ([]authority.Revocable, error) {
	person, err := member(folder, name)
	if err != nil {
		return nil, err
	}
	certificates := standing.Unrevoked(person)
	// What has ended needs no list of a CA whose key is lost.
	certificates = slices.DeleteFunc(certificates, func(c authority.Issued) bool { return standing.State(c) == authority.Ended && !folder.KeepsKeyOf(c) })
	if len(certificates) == 0 {
		return nil, errors.New("all of their certificates are revoked already, or of a CA that was replaced; see \"vpnami-pki show\"")
	}
	return folder.OfRoster(person, certificates)
}

// sayPublish says how a gateway learns of what was changed.
func (d *desk) sayPublish(folder authority.Folder) {
	published, err := folder.Published()
	if err != nil { // what was to be done is done
		d.warn("%v: \"vpnami-pki publish\" tells the gateway", err)
		return
	}
	if len(published) == 0 {
		d.say("\"vpnami-pki publish\" tells the gateway")
		return
	}
	d.say("the gateway does not know it yet; tell it:")
	for _, place := range slices.SortedFunc(maps.Keys(published), comparePlaces) {
		d.say("  vpnami-pki publish --folder %s --secret %s --region %s", shellWord(folder.Path()), shellWord(place.Prefix), shellWord(place.Region))
	}
}

func comparePlaces(a, b authority.Place) int {
	return cmp.Or(strings.Compare(a.Prefix, b.Prefix), strings.Compare(a.Region, b.Region))
}

// shown is a name as it may be printed: that of an imported certificate may
// hold what turns or hides text.
func shown(name string) string {
	quoted := fmt.Sprintf("%+q", name)
	if plain := strings.Trim(quoted, "\""); plain == name {
		return name
	}
	return quoted
}
