// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

func (d *desk) initCommand() *cobra.Command {
	var serverName, network string
	var sans []string
	var keeping keeperFlags
	cmd := &cobra.Command{
		Use:   "init NAME",
		Short: "Make an authority",
		Long: `Makes an authority: a CA whose key is encrypted under a passphrase, the
gateway's certificate and keys, and those of the probe with which the gateway
proves itself. They are in a folder that must not be there yet.

The server name is what every profile demands of the gateway's certificate, and
the remote of profiles when it is a DNS name. It cannot be changed later.

With --kms the CA's key is one that AWS KMS made and holds: it is never on this
machine, no passphrase is needed, and AWS credentials that may use the key are
(kms:GetPublicKey, kms:Sign). Publishing needs no key at all.`,
		Example: `  vpnami-pki init office
  vpnami-pki init office --server-name vpn.example.com --folder ~/vpn/office
  vpnami-pki init office --key-type ed25519
  vpnami-pki init office --kms arn:aws:kms:eu-west-1:123456789012:key/KEY-ID`,
		Args: exactly(1, "one NAME for the authority, such as \"office\""),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan := authority.Plan{Path: d.folder, Name: args[0], ServerName: serverName, ServerSANs: sans, Network: network}
			if plan.Path == "" {
				plan.Path = args[0]
			}
			if err := keeping.check(cmd); err != nil {
				return err
			}
			return d.init(cmd.Context(), plan, keeping)
		},
	}
	cmd.Flags().StringVar(&d.folder, "folder", "", "folder to make (default: ./NAME)")
	cmd.Flags().StringVar(&serverName, "server-name", "", "name in the gateway's certificate (default: NAME-vpn)")
	cmd.Flags().StringArrayVar(&sans, "server-san", nil, "one more DNS name in the gateway's certificate; may be repeated")
	keeping.add(cmd, string(authority.ECDSAP256))
	cmd.Flags().StringVar(&network, "network", "", "tunnel network, for people's own addresses (default: "+bundle.DefaultNetwork+", as the gateway's)")
	d.passphraseFlag(cmd)
	return cmd
}

func (d *desk) init(ctx context.Context, plan authority.Plan, keeping keeperFlags) error {
	plan, err := plan.Check()
	if err != nil {
		return err
	}
	keeper, err := keeping.first(ctx, d)
	if err != nil {
		return err
	}
	plan.Left = d.sweepBuilding(plan.Path)
	folder, err := authority.Make(plan, keeper, d.now())
	if err != nil {
		return err
	}
	server, err := folder.Server()
	if err != nil {
		return err
	}
	d.say("made the authority %q in %q", folder.Name(), folder.Path())
	d.say("  CA      until %s  sha256 %x", day(folder.CA().NotAfter), sha256.Sum256(folder.CA().Raw))
	d.say("  server  until %s  %s", day(server.Certificate.NotAfter), folder.ServerName())
	if keeping.kms != "" {
		d.say("keep a copy of the folder, and protect the KMS key from deletion: without either nobody can be added")
		return nil
	}
	d.say("keep a copy of the folder, and the passphrase apart from it: without either nobody can be added")
	return nil
}

// sweepBuilding removes what a kill left of making an authority, and returns what was
// signed there.
func (d *desk) sweepBuilding(path string) []*x509.Certificate {
	swept, gateways, err := authority.SweepBuilding(path, d.now())
	d.swept(swept, err)
	return gateways
}

// sweep removes what a kill left in an authority, and beside it. Whoever calls it has
// locked the folder.
func (d *desk) sweep(folder authority.Folder) error {
	swept, err := folder.Sweep(d.now())
	d.swept(swept, nil)
	if err != nil {
		return err
	}
	d.swept(folder.SweepBeside(d.now()))
	return nil
}

// swept tells what was removed of an earlier command that was killed. That
// something could not be is no reason not to go on.
func (d *desk) swept(paths []string, err error) {
	for _, path := range paths {
		d.warn("removed %q, which a broken-off command had left; there were keys in it", path)
	}
	if err != nil {
		d.warn("%v", err)
	}
}

// exactly is a usage error unless there are n arguments.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			if len(args) == 0 {
				return usage(cmd, "it needs %s", what)
			}
			return usage(cmd, "it needs %s; given is %s", what, quoted(args))
		}
		return nil
	}
}

func quoted(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = strconv.Quote(arg)
	}
	return strings.Join(words, " ")
}

func plural(n int, one, more string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, one)
	}
	return fmt.Sprintf("%d %s", n, more)
}
