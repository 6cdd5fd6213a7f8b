// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/easyrsa"
)

func (d *desk) importEasyRSACommand() *cobra.Command {
	var plan authority.Plan
	var passphraseFile string
	var revokeLost bool
	cmd := &cobra.Command{
		Use:   "import-easyrsa DIR",
		Short: "Take over the PKI that easy-rsa 2 or 3 keeps",
		Long: `Makes an authority of the PKI in DIR: its CA with its key, which is encrypted
under a new passphrase; what is revoked; and everybody whose certificate is
good, in the roster under the name in it. DIR itself is not changed: put it
away once the gateway runs, and give nobody a certificate from it any more.

The gateway gets a new certificate of that CA, with the name that the old
server's had. A certificate that is good for a server and a client
(build-serverClient-full) is a person's, unless there never was one for a
server alone and --server-name is left out.

What easy-rsa signed as a CA below its own is revoked: whoever has its key could
let in others. A certificate that is good by index.txt and whose file is gone
stops the import: put the file back from a copy or, if it was removed so that
its owner is out, say --revoke-lost, which revokes all of these.

Old profiles have no key for tls-crypt-v2. They connect while the window for them
is open ("migration open", then publish); profiles made meanwhile connect then
and later. Give everybody one with "renew", and close the window.

A name outside the alphabet of names is kept, and so is the second of two that
differ by capitals: the person is "imported-SERIAL" in the roster, and let in by
that certificate alone.`,
		Example: `  vpnami-pki import-easyrsa /etc/openvpn/easy-rsa --folder office
  vpnami-pki import-easyrsa keys --folder office --server-name vpn.example.com`,
		Args: exactly(1, "one DIR, the folder of easy-rsa's PKI"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if plan.Path == "" {
				return usage(cmd, "--folder is needed: the folder to make for the authority")
			}
			prepare := asItIs
			if revokeLost {
				prepare = easyrsa.PKI.RevokeLost
			}
			return d.importEasyRSA(args[0], plan, passphraseFile, prepare)
		},
	}
	cmd.Flags().StringVar(&plan.Path, "folder", "", "folder to make")
	cmd.Flags().StringVar(&plan.Name, "name", "", "name of the authority (default: that of the CA, with - for spaces)")
	cmd.Flags().StringVar(&plan.ServerName, "server-name", "", "name in the gateway's certificate (default: that of the server's certificate that ends last)")
	cmd.Flags().StringVar(&plan.Network, "network", "", "tunnel network, for people's own addresses (default: "+bundle.DefaultNetwork+", as the gateway's)")
	cmd.Flags().StringVar(&passphraseFile, "easyrsa-passphrase-file", "", "file with the passphrase of easy-rsa's ca.key (default: VPNAMI_EASYRSA_PASSPHRASE, or asked for)")
	cmd.Flags().BoolVar(&revokeLost, "revoke-lost", false, "revoke what is good by index.txt and whose certificate is gone")
	d.passphraseFlag(cmd)
	return cmd
}

// preparing is what is done to a PKI before it is taken over, and the lines of index.txt
// that it revokes.
type preparing func(theirs easyrsa.PKI, now time.Time) (easyrsa.PKI, []string)

func asItIs(theirs easyrsa.PKI, _ time.Time) (easyrsa.PKI, []string) { return theirs, nil }

func (d *desk) importEasyRSA(dir string, plan authority.Plan, passphraseFile string, prepare preparing) error {
	theirs, err := easyrsa.Read(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(theirs.CheckCA(), theirs.CheckIndex()); err != nil {
		return err
	}
	theirs, lost := prepare(theirs, d.now())
	taken, err := takeOver(theirs, plan.ServerName, d.now())
	if err != nil {
		return err
	}
	if plan.Name == "" {
		if plan.Name = nameOfCA(theirs); bundle.CheckName(plan.Name) != nil {
			return fmt.Errorf("naming the authority: the CA's name %+q cannot be taken: give one with --name", theirs.CA.Subject.CommonName)
		}
	}
	if plan.ServerName = taken.serverName; plan.ServerName == "" {
		return errors.New("naming the server: no certificate of a server with a safe name is there: give its name with --server-name, as old profiles have it in verify-x509-name")
	}
	plan.Adopted = &taken.adopted
	if plan, err = plan.Check(); err != nil {
		return err
	}
	key, err := theirs.Unlock(func() ([]byte, error) { return d.easyRSAPassphrase(passphraseFile) })
	if err != nil {
		return err
	}
	passphrase, err := d.newPassphrase()
	if err != nil {
		return err
	}
	plan.Left = d.sweepBuilding(plan.Path)
	if n := taken.certificates + len(taken.adopted.Others); n > 1000 { // some hundred a second
		d.say("taking over %d certificates...", n)
	}
	folder, err := authority.Make(plan, authority.AdoptedKey{Key: key, Passphrase: passphrase}, d.now())
	if err != nil {
		return err
	}
	d.say("made the authority %q in %q of easy-rsa's in %q", folder.Name(), folder.Path(), theirs.Path)
	d.say("  CA       %s, until %s", shown(folder.CA().Subject.CommonName), day(folder.CA().NotAfter))
	d.say("  server   %s, with a new key", folder.ServerName())
	d.say("  people   %d, with %s", len(taken.adopted.People), plural(taken.certificates, "certificate", "certificates"))
	d.say("  revoked  %s", plural(len(taken.adopted.Revoked), "certificate", "certificates"))
	if taken.outlive > 0 {
		d.say("  %s for longer than the CA: to end with it on %s", plural(taken.outlive, "certificate", "certificates"), day(folder.CA().NotAfter))
	}
	if taken.ended > 0 {
		d.say("  ended    %s, not taken over", plural(taken.ended, "certificate", "certificates"))
	}
	for _, subject := range lost {
		d.warn("revoked: %s: it is good by index.txt, and there is no certificate of it", subject)
	}
	for _, line := range taken.revoked {
		d.warn("revoked: %s", line)
	}
	for _, name := range taken.doubtful {
		d.warn("%s has an older certificate that is good still, and a newer one was revoked: if they were to be out, \"vpnami-pki revoke --folder %s %s\"", name, shellWord(folder.Path()), name)
	}
	for _, line := range taken.leftOut {
		d.warn("left out: %s", line)
	}
	for _, p := range taken.adopted.People {
		if slices.ContainsFunc(p.Certificates, serves) {
			d.warn("%s has a certificate that is a gateway's too (\"build-serverClient-full\"): if it was the gateway's, revoke it; if not, renew it with --revoke-old", p.Name)
		}
	}
	next := "\"vpnami-pki migration open\" lets old profiles connect; publish; give everybody a new one with \"renew\""
	if len(taken.servers) > 0 {
		next += "; when the old server is off, revoke its certificate: \"vpnami-pki revoke --folder " + shellWord(folder.Path())
		for _, serial := range taken.servers {
			next += " --serial " + serial.String()
		}
		next += "\""
	}
	d.say("next: %s", next)
	return nil
}

// nameOfCA is the name of an authority after its CA; easy-rsa's default is "Easy-RSA
// CA".
func nameOfCA(theirs easyrsa.PKI) string {
	return strings.Join(strings.Fields(theirs.CA.Subject.CommonName), "-")
}

// easyRSAPassphrase asks for the passphrase of the old key.
func (d *desk) easyRSAPassphrase(path string) ([]byte, error) {
	if path != "" {
		return d.passphraseOf(path)
	}
	if value, ok := d.env("VPNAMI_EASYRSA_PASSPHRASE"); ok && value != "" {
		return []byte(value), nil
	}
	passphrase, err := d.prompt("Passphrase of easy-rsa's ca.key: ")
	if err != nil {
		return nil, fmt.Errorf("%w (or --easyrsa-passphrase-file, or VPNAMI_EASYRSA_PASSPHRASE, for easy-rsa's key)", err)
	}
	return passphrase, nil
}
