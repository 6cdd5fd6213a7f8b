// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

func (d *desk) crlCommand() *cobra.Command {
	var above string
	cmd := &cobra.Command{
		Use:   "crl",
		Short: "Sign the revocation list anew",
		Long: `Signs the CRL of each CA in force anew, with the next number and a year to go.

Every revocation signs it too, and issuing does when half of its year is over, so
this is needed only when nothing else has been done for long, or when a command
was broken off between revoking and signing. A gateway keeps out who is revoked
also when its CRL is past its date, and locks nobody else out then. What the signed
list or the log has revoked, and revoked.tsv has not (an older copy of it was put
back, or a command was broken off), is taken over, and named.

Where the newest copy of the folder was lost, what was published since has a
higher number, and gateways take no lower one: --above signs above that.`,
		Example: `  vpnami-pki crl --folder office
  vpnami-pki crl --folder office --above 12`,
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			number := new(big.Int)
			if above != "" {
				// RFC 5280 section 5.2.3: at most 20 octets.
				if _, ok := number.SetString(above, 10); !ok || number.Sign() < 0 || number.BitLen() > 8*20-2 {
					return usage(cmd, "--above is %q, it must be the number of a CRL", above)
				}
			}
			return d.crl(cmd.Context(), folder, number)
		},
	}
	cmd.Flags().StringVar(&above, "above", "", "number of a CRL that was published, above which the new one is to be")
	d.folderFlag(cmd)
	d.passphraseFlag(cmd)
	return cmd
}

func (d *desk) crl(ctx context.Context, folder authority.Folder, above *big.Int) error {
	return d.withKeys(ctx, folder, ofKept, func(folder authority.Folder, issuers []authority.Issuer, _ authority.Keys) error {
		swept, err := folder.SweepAll(d.now())
		if err != nil {
			return err
		}
		d.swept(swept, nil)
		// What one CA lacks is known before another's list is signed.
		var all []authority.Gathered
		for _, place := range folder.Places() {
			gathered, err := folder.Gather(place, above)
			if err != nil {
				return err
			}
			all = append(all, gathered)
		}
		signed, err := folder.SignGathered(d.now(), issuers, all...)
		done := d.tellSigned(folder, signed)
		if err == nil {
			err = d.tellUnsigned(folder)
		}
		if err != nil && len(done) > 0 {
			err = fmt.Errorf("%s, and no more: %w", strings.Join(done, ", "), err)
		}
		if err != nil {
			return err
		}
		d.sayPublish(folder)
		return nil
	})
}

// tellSigned says what was done for each CA, and returns it.
func (d *desk) tellSigned(folder authority.Folder, signed []authority.Signed) (done []string) {
	for place, list := range signed {
		name := shown(folder.CAs()[place].Subject.CommonName)
		d.tellTakenOver(list.TakenOver)
		switch {
		case list.Number != nil:
			d.say("signed the CRL of %s: number %s, until %s, %s", name, list.Number, day(list.Until), plural(list.Listed, "certificate", "certificates"))
			done = append(done, "signed the CRL of "+name)
		case len(list.TakenOver) > 0:
			done = append(done, "wrote down what is revoked of "+name)
		}
	}
	return done
}

// tellUnsigned names the lists that are as they were.
func (d *desk) tellUnsigned(folder authority.Folder) error {
	lists, err := folder.CRLs(d.now())
	if err != nil {
		return err
	}
	kept := folder.KeptKeys()
	for place, list := range lists {
		if !slices.Contains(kept, place) {
			d.warn("the CRL of %s is not signed anew: its key is not in the folder; it stays number %s, until %s", shown(folder.CAs()[place].Subject.CommonName), list.Number, day(list.NextUpdate))
		}
	}
	return nil
}

// tellTakenOver names whom a newly signed list takes out besides those who were asked for.
func (d *desk) tellTakenOver(over []authority.TakenOver) {
	if len(over) == 0 {
		return
	}
	var each []string
	for _, o := range over {
		text := fmt.Sprintf("serial %s (%s, %s)", o.Serial, o.Reason, day(o.At))
		if o.Name != "" {
			text = shown(o.Name) + " " + text
		}
		each = append(each, text)
	}
	d.warn("revoked besides, as the list signed before or log.jsonl has it, and revoked.tsv had not: %s; \"vpnami-pki issue\" gives another certificate to who is to come in", some(each))
}
