// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/roster"
)

func (d *desk) renewCommand() *cobra.Command {
	var flags profileFlags
	var revokeOld bool
	cmd := &cobra.Command{
		Use:   "renew NAME...",
		Short: "Give people of the roster another certificate and profile",
		Long: `Makes for each NAME of the roster a new key, certificate and profile. The old
certificate stays good until its end, so that the person can change when it
suits; with --revoke-old it is revoked at once (superseded). Somebody who was
revoked is not renewed: "issue" lets them in again.

After "rollover start" the new certificate is of the new CA.`,
		Example: `  vpnami-pki renew client1 --out renewed
  vpnami-pki renew client1 --out renewed --revoke-old`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "no NAME is given: give one or more, such as \"client1\"")
			}
			return flags.checkRequest(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, order, err := d.ordered(cmd, &flags, renewing)
			if err != nil {
				return err
			}
			for _, name := range args {
				order.people = append(order.people, roster.Entry{Name: name})
			}
			after := afterRenewal{ofSigner, d.keepOld}
			if revokeOld {
				after = afterRenewal{d.ofRenewed(order), d.revokeOld}
			}
			return d.renew(cmd.Context(), folder, order, after)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&revokeOld, "revoke-old", false, "revoke the certificates that they had")
	d.folderFlag(cmd)
	d.passphraseFlag(cmd)
	return cmd
}

// afterRenewal is what becomes of the certificates that people had, and with
// which keys.
type afterRenewal struct {
	with opening
	do   func(folder authority.Folder, issuers []authority.Issuer, old []authority.Revocable) error
}

func (d *desk) renew(ctx context.Context, folder authority.Folder, order issuing, after afterRenewal) error {
	err := planned(ctx, folder, func(folder authority.Folder) error { _, err := d.planRenewal(folder, order); return err })
	if err != nil {
		return err
	}
	return d.withKeys(ctx, folder, after.with, func(folder authority.Folder, issuers []authority.Issuer, _ authority.Keys) error {
		people, err := d.planRenewal(folder, order) // again, now that nobody else writes
		if err != nil {
			return err
		}
		old, err := d.had(folder, order, people)
		if err != nil {
			return err
		}
		issued := d.issueAll(ctx, folder, issuers[0], order, people)
		if issued != nil { // of some it may be done
			renewed, err := renewedOf(folder, people)
			if err == nil {
				old, err = d.had(folder, order, renewed)
			}
			if err != nil || len(renewed) == 0 {
				return errors.Join(issued, err)
			}
		}
		err = errors.Join(issued, after.do(folder, issuers, old))
		d.sayPublish(folder) // whatever failed: they are renewed
		return err
	})
}

// ofRenewed is for who renews people and revokes the certificates that they had.
func (d *desk) ofRenewed(order issuing) opening {
	return func(folder authority.Folder) ([]int, error) {
		people, err := d.planRenewal(folder, order)
		if err != nil {
			return nil, err
		}
		old, err := d.had(folder, order, people)
		if err != nil {
			return nil, err
		}
		signers, err := folder.SignersOf(old...)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(signers, 0) {
			signers = append([]int{0}, signers...)
		}
		return signers, nil
	}
}

// had are the certificates of people with which they could come in, whatever the clock
// says.
func (d *desk) had(folder authority.Folder, order issuing, people []authority.Person) ([]authority.Revocable, error) {
	standing, err := folder.Standing(order.now)
	if err != nil {
		return nil, err
	}
	var had []authority.Revocable
	for _, p := range people {
		certificates, err := folder.OfRoster(p, standing.Unrevoked(p))
		if err != nil {
			return nil, err
		}
		had = append(had, certificates...)
	}
	return had, nil
}

func (d *desk) planRenewal(folder authority.Folder, order issuing) ([]authority.Person, error) {
	if err := order.checkOnce(); err != nil {
		return nil, err
	}
	renewals, err := folder.Renewals(order.now)
	if err != nil {
		return nil, fmt.Errorf("renewing: %w", err)
	}
	var people []authority.Person
	for _, wanted := range order.people {
		person, known, err := folder.Person(wanted.Name)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, fmt.Errorf("renewing %q: nobody of that name is in the roster; \"vpnami-pki issue\" adds somebody", wanted.Name)
		}
		if person.Name != wanted.Name {
			return nil, fmt.Errorf("renewing %q: the name is %q in the roster: write it so", wanted.Name, person.Name)
		}
		if err := renewals.Check(person); err != nil {
			return nil, fmt.Errorf("renewing %q: %w", wanted.Name, err)
		}
		people = append(people, person)
	}
	if err := order.checkRequest(folder, people[0]); err != nil {
		return nil, err
	}
	return people, order.checkFiles(folder, people)
}

func (d *desk) keepOld(_ authority.Folder, _ []authority.Issuer, old []authority.Revocable) error {
	for _, c := range old {
		if !d.now().Before(c.NotAfter) {
			continue
		}
		d.say("the old certificate of %s stays good until %s  serial %s", shown(c.Name), day(c.NotAfter), c.Serial)
	}
	return nil
}

// renewedOf are those of some people, as they were, who have another certificate now.
func renewedOf(folder authority.Folder, people []authority.Person) ([]authority.Person, error) {
	var renewed []authority.Person
	for _, before := range people {
		now, _, err := folder.Person(before.Name)
		if err != nil {
			return nil, err
		}
		if len(now.Certificates) > len(before.Certificates) {
			renewed = append(renewed, before)
		}
	}
	return renewed, nil
}

func (d *desk) revokeOld(folder authority.Folder, issuers []authority.Issuer, old []authority.Revocable) error {
	over, err := folder.Revoke(issuers, authority.Superseded, old...)
	d.tellTakenOver(over)
	if err != nil {
		return d.stillIn(folder, old, err)
	}
	for _, c := range old {
		d.say("revoked %s  serial %s  (%s)", shown(c.Name), c.Serial, authority.Superseded)
	}
	return nil
}

// stillIn adds to why old certificates could not be revoked how to do that. The same
// command, given again, would renew once more, and revoke what it has just given.
func (d *desk) stillIn(folder authority.Folder, old []authority.Revocable, why error) error {
	const again = "not with this command: they are renewed, with the profiles told of above, and would be once more"
	past, err := folder.Past()
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %s", why, again), err)
	}
	revoke, all := "vpnami-pki revoke --folder "+shellWord(folder.Path())+" --reason "+authority.Superseded.String(), true
	for _, c := range old {
		if !past.TookBack(c.Serial) {
			revoke, all = revoke+" --serial "+c.Serial.String(), false
		}
	}
	if all {
		return fmt.Errorf("%w: %s", why, again)
	}
	return fmt.Errorf("%w: %s; \"%s\" takes back what they had", why, again, revoke)
}
