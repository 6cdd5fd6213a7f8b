// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

func (d *desk) crlCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "crl",
		Short: "Sign the revocation list anew",
		Long: `Signs the CRL of each CA in force anew, with the next number and a year to go.

Every revocation signs it too, and issuing does when half of its year is over, so
this is needed only when nothing else has been done for long, or when a command
was broken off between revoking and signing. A gateway keeps out who is revoked
also when its CRL is past its date, and locks nobody else out then.`,
		Example: "  vpnami-pki crl --folder office",
		Args:    exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			return d.crl(cmd.Context(), folder)
		},
	}
	d.folderFlag(cmd)
	d.passphraseFlag(cmd)
	return cmd
}

func (d *desk) crl(ctx context.Context, folder authority.Folder) error {
	return d.withIssuers(ctx, folder, func(folder authority.Folder, issuers []authority.Issuer, _ authority.Keys) error {
		if err := folder.SweepAll(); err != nil {
			return err
		}
		for _, issuer := range issuers {
			if _, err := folder.SignCRL(issuer); err != nil {
				return err
			}
		}
		lists, err := folder.CRLs(d.now())
		if err != nil {
			return err
		}
		for i, list := range lists {
			d.say("signed the CRL of %s: number %s, until %s, %s", shown(folder.CAs()[i].Subject.CommonName), list.Number, day(list.NextUpdate), plural(len(list.RevokedCertificateEntries), "certificate", "certificates"))
		}
		d.sayPublish(folder)
		return nil
	})
}
