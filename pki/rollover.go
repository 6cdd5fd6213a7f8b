// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

func (d *desk) rolloverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollover",
		Short: "Replace the CA without cutting anybody off",
		Long: `Replaces the CA in three steps:

  start   makes a second CA. It signs from now on; the gateway takes both.
          Publish.
  renew   each person gets a certificate of the new CA, when it suits; their new
          profile knows both CAs. "rollover status" tells who is left. Publish.
  end     gives the gateway a certificate of the new CA; the old one counts no
          more. Who has no new profile by then cannot connect. Publish.`,
		Example: `  vpnami-pki rollover start
  vpnami-pki renew client1 --out renewed
  vpnami-pki rollover status
  vpnami-pki rollover end`,
		Args: exactly(0, "\"start\", \"status\" or \"end\""),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(d.rolloverStartCommand(), d.rolloverStatusCommand(), d.rolloverEndCommand())
	return cmd
}

func (d *desk) rolloverStartCommand() *cobra.Command {
	var keeping keeperFlags
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Make the CA that replaces this one",
		Long: `Makes a second CA, which signs from now on. Its key is of the same kind and under
the same passphrase, unless --key-type or --kms say otherwise: so a key moves
into AWS KMS, or out of it.`,
		Example: `  vpnami-pki rollover start --folder office
  vpnami-pki rollover start --folder office --key-type ed25519`,
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			if err := keeping.check(cmd); err != nil {
				return err
			}
			held, err := folder.HeldKeys(folder.Places())
			if err != nil {
				return err
			}
			if held[0] != "" && keeping == (keeperFlags{}) {
				return usage(cmd, "AWS KMS holds the CA's key: give --kms with the ARN of another key, or --key-type for one that lies in the folder")
			}
			keeper, err := keeping.held(cmd.Context(), d)
			if err != nil {
				return err
			}
			// Before the folder is locked: somebody else may have to revoke meanwhile.
			var first []byte
			if keeper == nil && !slices.Contains(held, "") {
				if first, err = d.newPassphrase(); err != nil {
					return err
				}
			}
			return d.withIssuers(cmd.Context(), folder, func(folder authority.Folder, issuers []authority.Issuer, keys authority.Keys) error {
				if keeper == nil {
					passphrase := slices.Concat(keys.Passphrase, first)
					if len(passphrase) == 0 {
						return errors.New("starting a roll-over: another command has changed who keeps the CA's key: try again")
					}
					keeper = keeping.next(folder.CA().PublicKey, passphrase)
				}
				next, err := folder.StartRollover(issuers[0], keeper)
				if err != nil {
					return err
				}
				d.say("made the CA %q, until %s; it signs from now on", next.CA().Subject.CommonName, day(next.CA().NotAfter))
				people, err := next.People()
				if err != nil {
					return err
				}
				standing, err := next.Standing(d.now())
				if err != nil {
					return err
				}
				if names := whose(standing, people, abandoned); len(names) > 0 {
					d.warn("%s had certificates of the CA in whose place it is, and no other in force: renew them", some(names))
				}
				d.say("publish, then give people new profiles with \"vpnami-pki renew\"")
				d.sayPublish(next)
				return nil
			})
		},
	}
	keeping.add(cmd, "that of the CA before")
	d.folderFlag(cmd)
	d.passphraseFlag(cmd)
	return cmd
}

// dependent is a line of the status, and its form with --json.
type dependent struct {
	Name     string    `json:"name"`
	NotAfter time.Time `json:"not_after"`
}

func (d *desk) rolloverStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Tell who still depends on the old CA",
		Long:    "Tells who has no certificate of the new CA yet, and until when theirs is good.",
		Example: "  vpnami-pki rollover status --folder office --json",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			if !folder.RollingOver() {
				return errors.New("looking at the roll-over: none is under way; \"vpnami-pki rollover start\" begins one")
			}
			found, err := folder.Dependents(d.now())
			if err != nil {
				return err
			}
			lines := []dependent{}
			for _, p := range found {
				lines = append(lines, dependent{p.Person.Name, p.Until})
			}
			if asJSON {
				return d.encode(lines)
			}
			d.say("%s replaces %s", shown(folder.CAs()[0].Subject.CommonName), shown(folder.CAs()[1].Subject.CommonName))
			for _, line := range lines {
				d.say("  %s  has only a certificate of the old CA, until %s", line.Name, day(line.NotAfter))
			}
			if len(lines) == 0 {
				d.say("nobody depends on the old CA any more: \"vpnami-pki rollover end\"")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "a list of objects, for programs")
	d.folderFlag(cmd)
	return cmd
}

func (d *desk) rolloverEndCommand() *cobra.Command {
	var cut bool
	cmd := &cobra.Command{
		Use:   "end",
		Short: "Take the old CA out of force",
		Long: `Gives the gateway a certificate of the new CA and takes the old CA out of force.
It is refused while somebody depends on the old CA, unless --cut says that they
are to be cut off.`,
		Example: "  vpnami-pki rollover end --folder office",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			dependent := refuseDependents
			if cut {
				dependent = d.tellDependents
			}
			return d.withKeys(cmd.Context(), folder, ofSigner, func(folder authority.Folder, issuers []authority.Issuer, _ authority.Keys) error {
				tell := func() {}
				if folder.RollingOver() {
					if tell, err = dependent(folder, d.now()); err != nil {
						return err
					}
				}
				ended, err := folder.EndRollover(issuers[0])
				if err != nil {
					return err
				}
				tell()
				d.say("%s is the only CA now; the gateway has a new certificate of it", shown(ended.CA().Subject.CommonName))
				d.say("profiles made before still take a gateway's certificate of the old CA: if its key or the gateway's was stolen, renew everybody once more")
				d.sayPublish(ended)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&cut, "cut", false, "end it although people depend on the old CA, and cut them off")
	d.folderFlag(cmd)
	d.passphraseFlag(cmd)
	return cmd
}

func refuseDependents(folder authority.Folder, now time.Time) (tell func(), err error) {
	found, err := folder.Dependents(now)
	if err != nil || len(found) == 0 {
		return func() {}, err
	}
	return nil, fmt.Errorf("ending the roll-over: %s would be cut off: %s: renew them first, or say --cut", plural(len(found), "person", "people"), some(dependentNames(found)))
}

// tellDependents returns what is to be said once they are cut off.
func (d *desk) tellDependents(folder authority.Folder, now time.Time) (tell func(), err error) {
	found, err := folder.Dependents(now)
	return func() {
		if len(found) > 0 {
			d.warn("cut off from the next publish on: %s", some(dependentNames(found)))
		}
	}, err
}

func dependentNames(found []authority.Dependent) []string {
	var names []string
	for _, p := range found {
		names = append(names, p.Person.Name)
	}
	return names
}

func (d *desk) renewServerCommand() *cobra.Command {
	var sans []string
	cmd := &cobra.Command{
		Use:   "renew-server",
		Short: "Give the gateway another certificate and key",
		Long: `Makes another certificate and key for the gateway, and another probe. Profiles
that are out go on working; the gateway restarts its daemon once when it gets
them, and clients come back by themselves. The old ones can be revoked then, with
"revoke --serial".

Whoever stole the old key can still pose as the gateway until its certificate ends:
clients look at no list of what is revoked. What shuts a thief out is another CA:
"rollover start", renew everybody, "rollover end", and renew everybody once more, so
that nobody's profile takes the old CA's. The key under which tls-crypt-v2 hides the
handshake stays the same; without a certificate it lets nobody in.`,
		Example: "  vpnami-pki renew-server --folder office",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			return d.withKeys(cmd.Context(), folder, ofOldest, func(folder authority.Folder, issuers []authority.Issuer, _ authority.Keys) error {
				before, _ := folder.Server() // as far as it is there
				renewed, err := folder.RenewServer(issuers, sans...)
				if err != nil {
					return err
				}
				after, err := renewed.Server()
				if err != nil {
					return err
				}
				d.say("the gateway's certificate %s  until %s  serial %s", renewed.ServerName(), day(after.Certificate.NotAfter), after.Certificate.SerialNumber)
				if before.Certificate != nil {
					d.say("the one before has the serial %s", before.Certificate.SerialNumber)
				}
				d.sayPublish(renewed)
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&sans, "server-san", nil, "one more DNS name in the certificate; may be repeated (default: those it had)")
	d.folderFlag(cmd)
	d.passphraseFlag(cmd)
	return cmd
}

// opening is which keys a command needs: the places of their CAs in
// [authority.Folder.CAs].
type opening func(authority.Folder) ([]int, error)

func ofAll(folder authority.Folder) ([]int, error) { return folder.Places(), nil }

// ofSigner is for what the CA that is being replaced has no part in: its key may
// be lost, or taken away from KMS too early.
func ofSigner(authority.Folder) ([]int, error) { return []int{0}, nil }

// ofKept is for what is done for each CA by itself: that of an old one whose key is
// lost is left as it is.
func ofKept(folder authority.Folder) ([]int, error) { return folder.KeptKeys(), nil }

// ofOldest is for what profiles that are out have to know: the CA that is being
// replaced, where one is.
func ofOldest(folder authority.Folder) ([]int, error) {
	places := folder.Places()
	return places[len(places)-1:], nil
}

// keys opens the keys that KMS holds, and asks for the passphrase of the rest.
func (d *desk) keys(ctx context.Context, folder authority.Folder, which opening) (authority.Keys, error) {
	places, err := which(folder)
	if err != nil {
		return authority.Keys{}, err
	}
	held, err := folder.HeldKeys(places)
	if err != nil {
		return authority.Keys{}, err
	}
	opened := map[string]crypto.Signer{}
	for i, arn := range held {
		if arn == "" {
			continue
		}
		opened[arn], err = d.kms(ctx, arn)
		if err != nil && places[i] > 0 {
			err = fmt.Errorf("%w; if that key is gone for good: it is that of the CA which is being replaced: move %q away, and the other CA goes on", err, folder.HeldKeyFile(places[i]))
		}
		if err != nil {
			return authority.Keys{}, err
		}
	}
	keys := authority.Keys{KMS: func(arn string) (crypto.Signer, error) {
		if key, ok := opened[arn]; ok {
			return key, nil
		}
		return d.kms(ctx, arn) // another command has put it in force meanwhile
	}}
	if slices.Contains(held, "") {
		keys.Passphrase, err = d.passphrase()
	}
	return keys, err
}

// withIssuers is [desk.withKeys] of all CAs in force.
func (d *desk) withIssuers(ctx context.Context, folder authority.Folder, do func(authority.Folder, []authority.Issuer, authority.Keys) error) error {
	return d.withKeys(ctx, folder, ofAll, do)
}

// withKeys asks for the passphrase, locks the folder, and does something with the keys.
func (d *desk) withKeys(ctx context.Context, folder authority.Folder, which opening, do func(authority.Folder, []authority.Issuer, authority.Keys) error) error {
	keys, err := d.keys(ctx, folder, which)
	if err != nil {
		return err
	}
	current, release, err := folder.Lock(ctx)
	if err != nil {
		return err
	}
	return errors.Join(func() error {
		if err := d.sweep(current); err != nil {
			return err
		}
		places, err := which(current)
		if err != nil {
			return err
		}
		issuers, err := current.UnlockThose(keys, d.now(), places)
		if err != nil {
			return err
		}
		return do(current, issuers, keys)
	}(), release())
}
