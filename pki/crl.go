// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"math/big"
	"slices"

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
back), is taken over.

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
		kept := folder.KeptKeys()
		for i, place := range kept {
			if _, err := folder.SignGathered(issuers[i], all[place]); err != nil {
				return err
			}
		}
		for place := range all {
			if slices.Contains(kept, place) {
				continue
			}
			if err := folder.Mend(d.now(), all[place]); err != nil {
				return err
			}
		}
		lists, err := folder.CRLs(d.now())
		if err != nil {
			return err
		}
		for i, list := range lists {
			name := shown(folder.CAs()[i].Subject.CommonName)
			if !slices.Contains(kept, i) {
				d.warn("the CRL of %s is not signed anew: its key is not in the folder; it stays number %s, until %s", name, list.Number, day(list.NextUpdate))
				continue
			}
			d.say("signed the CRL of %s: number %s, until %s, %s", name, list.Number, day(list.NextUpdate), plural(len(list.RevokedCertificateEntries), "certificate", "certificates"))
		}
		d.sayPublish(folder)
		return nil
	})
}
