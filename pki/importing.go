// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
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
	cmd := &cobra.Command{
		Use:   "import-easyrsa DIR",
		Short: "Take over the PKI that easy-rsa 2 or 3 keeps",
		Long: `Makes an authority of the PKI in DIR: its CA with its key, which is encrypted
under a new passphrase; what is revoked; and everybody whose certificate is good,
in the roster under the name in it. The gateway gets a new certificate of that
CA, with the name that the old server's had. DIR itself is not changed: put it
away once the gateway runs, and give nobody a certificate from it any more.

Old profiles have no key for tls-crypt-v2. They connect while the window for them
is open ("migration open", then publish); profiles made meanwhile connect then
and later. Give everybody one with "renew", and close the window.

A name outside the alphabet of names is kept, and so is the second of two that
differ by capitals: the person is "imported-SERIAL" in the roster, and let in by
that certificate alone.`,
		Example: `  vpnami-pki import-easyrsa /etc/openvpn/easy-rsa --folder office
  vpnami-pki import-easyrsa keys --folder office --server-name vpn.example.com`,
		Args: exactly(1, "one DIR, that of easy-rsa"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if plan.Path == "" {
				return usage(cmd, "--folder is needed: the folder to make for the authority")
			}
			return d.importEasyRSA(args[0], plan, passphraseFile)
		},
	}
	cmd.Flags().StringVar(&plan.Path, "folder", "", "folder to make")
	cmd.Flags().StringVar(&plan.Name, "name", "", "name of the authority (default: that of the CA, if it is safe)")
	cmd.Flags().StringVar(&plan.ServerName, "server-name", "", "name in the gateway's certificate (default: that of the server's certificate that ends last)")
	cmd.Flags().StringVar(&plan.Network, "network", "", "tunnel network, for people's own addresses (default: "+bundle.DefaultNetwork+", as the gateway's)")
	cmd.Flags().StringVar(&passphraseFile, "easyrsa-passphrase-file", "", "file with the passphrase of easy-rsa's ca.key (default: VPNAMI_EASYRSA_PASSPHRASE, or asked for)")
	d.passphraseFlag(cmd)
	return cmd
}

func (d *desk) importEasyRSA(dir string, plan authority.Plan, passphraseFile string) error {
	theirs, err := easyrsa.Read(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(theirs.CheckCA(), theirs.CheckIndex()); err != nil {
		return err
	}
	taken, err := takeOver(theirs, plan.ServerName, d.now())
	if err != nil {
		return err
	}
	if plan.Name == "" {
		if plan.Name = theirs.CA.Subject.CommonName; bundle.CheckName(plan.Name) != nil {
			return fmt.Errorf("naming the authority: the CA's name %+q cannot be taken: give one with --name", plan.Name)
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
	d.swept(authority.SweepBuilding(plan.Path, d.now()))
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
	for _, line := range taken.leftOut {
		d.warn("left out: %s", line)
	}
	d.say("next: \"vpnami-pki migration open\" lets old profiles connect; publish; give everybody a new one with \"renew\"")
	return nil
}

// taking is what becomes of a PKI of easy-rsa.
type taking struct {
	adopted      authority.Adopted
	serverName   string
	certificates int
	outlive      int // of the certificates, those for longer than their CA
	ended        int
	leftOut      []string
}

// servesOnly tells whether a certificate is a gateway's and no client's. One that
// is for both ("easyrsa build-serverClient-full") is a client's, where there is
// another that is not.
func servesOnly(c *x509.Certificate) bool {
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
}

// takeOver sorts what easy-rsa signed. It is pure.
func takeOver(theirs easyrsa.PKI, serverName string, now time.Time) (taking, error) {
	t := taking{serverName: serverName, adopted: authority.Adopted{CA: theirs.CA, CRLNumber: theirs.CRLNumber}}
	people := map[string]*authority.AdoptedPerson{} // by name in small letters
	var order []string
	var serverUntil time.Time
	pure := slices.ContainsFunc(theirs.Entries, func(e easyrsa.Entry) bool {
		c := theirs.Certificates[e.Serial.String()]
		return e.State == easyrsa.Valid && now.Before(e.NotAfter) && c != nil && servesOnly(c)
	})
	for _, e := range theirs.Entries {
		switch {
		case e.State == easyrsa.Revoked:
			reason, err := reasonOf(e)
			if err != nil {
				return taking{}, err
			}
			t.adopted.Revoked = append(t.adopted.Revoked, authority.Revocation{Serial: e.Serial, NotAfter: e.NotAfter, At: e.At, Reason: reason})
			continue
		case !now.Before(e.NotAfter):
			t.ended++
			continue
		}
		if algorithm, weak := theirs.Weak[e.Serial.String()]; weak {
			t.leftOut = append(t.leftOut, fmt.Sprintf("%+q, serial %X: it is signed with %s, which the gateway refuses; issue another", e.Subject, e.Serial, algorithm))
			continue
		}
		c, found := theirs.Certificates[e.Serial.String()]
		if !found {
			return taking{}, fmt.Errorf("taking over the certificate %X of %+q: it is good by index.txt, and none of that serial signed by the CA is in %q: revoke it there, or put it back", e.Serial, e.Subject, theirs.Path)
		}
		name := c.Subject.CommonName
		switch {
		case servesOnly(c), !pure && slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
			if serverName == "" && c.NotAfter.After(serverUntil) && bundle.CheckName(name) == nil {
				t.serverName, serverUntil = name, c.NotAfter
			}
			continue
		case bundle.CheckKey(c.PublicKey) != nil || !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
			t.leftOut = append(t.leftOut, fmt.Sprintf("%q, serial %X: the gateway refuses the certificate, which is weak or not marked for clients; issue another", name, e.Serial))
			continue
		}
		low, common := strings.ToLower(name), ""
		if bundle.CheckPersonName(name) != nil {
			if err := bundle.CheckCommonName(name); err != nil {
				t.leftOut = append(t.leftOut, fmt.Sprintf("%+q, serial %X: the name cannot be taken (it %v); issue to another", name, e.Serial, err))
				continue
			}
			common = name
		} else if people[low] != nil && people[low].Name != name {
			common = name // to OpenVPN it is another's, in the roster it would be the same
		}
		if common != "" {
			// Bound by its serial: the name that people see is made of it.
			name = fmt.Sprintf("imported-%x", e.Serial)
			low = "\x00" + common // the second certificate of that name is the same person's
		}
		if people[low] == nil {
			people[low] = &authority.AdoptedPerson{Name: name, CommonName: common}
			order = append(order, low)
		}
		people[low].Certificates = append(people[low].Certificates, c)
		t.certificates++
	}
	// Safe names first: another that is the same to OpenVPN yields to them.
	slices.SortStableFunc(order, func(a, b string) int {
		return cmp.Compare(len(people[a].CommonName), len(people[b].CommonName))
	})
	files := map[string]string{} // to OpenVPN, which makes "a_b" of "a/b"
	for _, low := range order {
		file := bundle.ClientFile(cmp.Or(people[low].CommonName, people[low].Name))
		if other, shared := files[file]; shared {
			t.leftOut = append(t.leftOut, fmt.Sprintf("%+q, %s: to OpenVPN that is %q, as %+q is; issue to another name", people[low].CommonName, people[low].Name, file, other))
			t.certificates -= len(people[low].Certificates)
			continue
		}
		files[file] = cmp.Or(people[low].CommonName, people[low].Name)
		if strings.EqualFold(low, t.serverName) {
			t.leftOut = append(t.leftOut, fmt.Sprintf("%q: it is the server's name too; issue to another", people[low].Name))
			t.certificates -= len(people[low].Certificates)
			continue
		}
		t.adopted.People = append(t.adopted.People, *people[low])
		for _, c := range people[low].Certificates {
			if c.NotAfter.After(theirs.CA.NotAfter) {
				t.outlive++
			}
		}
	}
	slices.SortFunc(t.adopted.Revoked, func(a, b authority.Revocation) int { return a.Serial.Cmp(b.Serial) })
	return t, nil
}

func reasonOf(e easyrsa.Entry) (authority.Reason, error) {
	if e.Reason == "" {
		return authority.Unspecified, nil
	}
	// OpenSSL writes in the index what it does not write in a list.
	switch e.Reason {
	// Of a person's certificate a CA's compromise is that of its key: easy-rsa
	// offers both.
	case "keyTime", "CAkeyTime", "CACompromise", "AACompromise":
		return authority.KeyCompromise, nil
	case "holdInstruction", "certificateHold", "removeFromCRL":
		return authority.Unspecified, nil // for good: nothing here takes a revocation back
	}
	reason, err := authority.ParseReason(e.Reason)
	if err != nil {
		return 0, fmt.Errorf("taking over the revocation of %s: %w", hexSerial(e.Serial), err)
	}
	return reason, nil
}

func hexSerial(serial *big.Int) string { return fmt.Sprintf("%X", serial) }

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
