// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/profile"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

const profileMode fs.FileMode = 0o600

// request is what is to be issued.
type request struct {
	names    []string
	out      string
	protocol string
	remotes  []profile.Remote
	life     time.Duration
}

func (r request) file(name string) string { return filepath.Join(r.out, name+".ovpn") }

func (d *desk) issueCommand() *cobra.Command {
	var req request
	var remotes []string
	var days int
	cmd := &cobra.Command{
		Use:   "issue NAME...",
		Short: "Make a person's certificate and profile",
		Long: `Makes for each NAME a key, a certificate and a profile NAME.ovpn, which a person
imports into Tunnelblick or any other OpenVPN client, and adds the person to the
roster. The gateway lets them in after the next publish.

The profile holds the only copy of the person's key. It is written with mode
0600, and an existing file is never overwritten.

Names are of A-Z a-z 0-9 . _ - , begin with a letter or a digit, have 64
characters at most, and are what the gateway's log shows.`,
		Example: `  vpnami-pki issue client1 --remote vpn.example.com
  vpnami-pki issue suzuki sato --remote 203.0.113.10:1194 --out profiles --days 90`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, "no NAME is given: give one or more, such as \"client1\"")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			req.names = args
			if !slices.Contains(profile.Protocols(), req.protocol) {
				return usage(cmd, "--proto is %q, it must be one of %s", req.protocol, strings.Join(profile.Protocols(), ", "))
			}
			if len(remotes) == 0 && strings.Contains(folder.ServerName(), ".") {
				remotes = []string{folder.ServerName()}
			}
			if len(remotes) == 0 {
				return usage(cmd, "--remote is needed: the gateway's address as people reach it, HOST or HOST:PORT (the server name %q is no DNS name to take instead)", folder.ServerName())
			}
			for _, s := range remotes {
				remote, err := profile.ParseRemote(s)
				if err != nil {
					return usage(cmd, "--remote: %w", err)
				}
				req.remotes = append(req.remotes, remote)
			}
			now := d.now()
			req.life = authority.ClientLife
			if cmd.Flags().Changed("days") {
				const most = 100 * 365 // a Duration holds 292 years
				if days < 1 || days > most {
					return usage(cmd, "--days is %d, it must be 1 to %d", days, most)
				}
				req.life = time.Duration(days) * 24 * time.Hour
				if err := folder.CheckLife(req.life, now); err != nil {
					return fmt.Errorf("issuing for %d days: %w", days, err)
				}
			}
			return d.issue(cmd.Context(), folder, req, now)
		},
	}
	cmd.Flags().StringArrayVar(&remotes, "remote", nil, "address of the gateway, HOST or HOST:PORT; may be repeated (default: the server name, if it is a DNS name)")
	cmd.Flags().StringVar(&req.protocol, "proto", "udp", "protocol of the gateway: udp or tcp")
	cmd.Flags().StringVar(&req.out, "out", ".", "folder for the profiles")
	cmd.Flags().IntVar(&days, "days", int(authority.ClientLife/(24*time.Hour)), "how long the certificate is good")
	d.folderFlag(cmd)
	d.passphraseFlag(cmd)
	return cmd
}

func (d *desk) issue(ctx context.Context, folder authority.Folder, req request, now time.Time) error {
	if err := checkRequest(folder, req, now); err != nil {
		return err
	}
	passphrase, err := d.passphrase()
	if err != nil {
		return err
	}
	release, err := folder.Lock(ctx)
	if err != nil {
		return err
	}
	return errors.Join(d.issueAll(ctx, folder, passphrase, req, now), release())
}

// checkRequest finds what would fail, before anything is asked or written.
func checkRequest(folder authority.Folder, req request, now time.Time) error {
	seen := map[string]bool{}
	for _, name := range req.names {
		if err := folder.CheckNew(name, now); err != nil {
			return fmt.Errorf("issuing for %q: %w", name, err)
		}
		if seen[strings.ToLower(name)] {
			return fmt.Errorf("issuing for %q: the name is given twice (capitals do not count)", name)
		}
		seen[strings.ToLower(name)] = true
		if _, err := os.Lstat(req.file(name)); err == nil {
			return fmt.Errorf("issuing for %q: the file %q is there: it is not overwritten, move it away or choose another folder with --out", name, req.file(name))
		}
	}
	if info, err := os.Stat(req.out); err == nil && !info.IsDir() {
		return fmt.Errorf("writing profiles into %q: it is not a folder", req.out)
	}
	return nil
}

func (d *desk) issueAll(ctx context.Context, folder authority.Folder, passphrase []byte, req request, now time.Time) error {
	issuer, err := folder.Unlock(passphrase, now)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(req.out, 0o700); err != nil {
		return fmt.Errorf("making the folder for profiles: %w", err)
	}
	d.swept(authority.SweepProfiles(req.out, now))
	if err := folder.RenewCRL(issuer); err != nil {
		return err
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		return err
	}
	done := 0
	for names := range slices.Chunk(req.names, atOnce) {
		err := ctx.Err() // between two batches is where to stop
		if err == nil {
			err = d.issueBatch(folder, issuer, wrapper, req, names, now)
		}
		if err != nil {
			return fmt.Errorf("issuing for %s, after %d of %s: %w", some(names), done, plural(len(req.names), "profile", "profiles"), err)
		}
		done += len(names)
	}
	d.say("added to the roster: %s; \"vpnami-pki publish\" lets them in", some(req.names))
	return nil
}

// atOnce is how many people are issued to together: what is written for them
// reaches the disk with few flushes, and a broken-off command leaves no more
// than so many profiles of people who are not in the roster.
const atOnce = 64

// issueBatch records the certificates, writes the profiles, and last adds the
// people: whoever is in the roster has a profile.
func (d *desk) issueBatch(folder authority.Folder, issuer authority.Issuer, wrapper tlscrypt.ServerKey, req request, names []string, now time.Time) error {
	var clients []authority.Client
	var profiles []authority.NewFile
	for _, name := range names {
		person, _, err := folder.Person(name)
		if err != nil {
			return err
		}
		person.Name = name
		client, err := issuer.Issue(person, wrapper, req.life)
		if err != nil {
			return err
		}
		text, err := profile.Profile{
			Name: name, Authority: folder.Name(), ServerName: folder.ServerName(),
			Protocol: req.protocol, Remotes: req.remotes,
			CA:          folder.CAs(),
			Certificate: client.Pair.Certificate, Key: client.Pair.Key, TLSCryptV2: client.TLSCryptV2,
		}.Render()
		if err != nil {
			return err
		}
		clients = append(clients, client)
		profiles = append(profiles, authority.NewFile{Path: req.file(name), Mode: profileMode, Data: text})
	}
	if err := folder.Record(now, clients...); err != nil {
		return err
	}
	if err := authority.CreateAll(profiles); err != nil {
		return err
	}
	if err := folder.Add(clients...); err != nil {
		return err
	}
	for _, client := range clients {
		certificate := client.Pair.Certificate
		d.say("%s  until %s  serial %s", req.file(client.Name), day(certificate.NotAfter), certificate.SerialNumber)
	}
	return nil
}
