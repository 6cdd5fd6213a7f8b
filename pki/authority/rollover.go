// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// RollingOver tells whether a CA is replacing another.
func (f Folder) RollingOver() bool { return f.mark.Previous != 0 }

// StartRollover makes a second CA, which signs from now on, beside the one that
// it replaces. The gateway's own certificate stays, so that every profile that is
// out goes on working; profiles made from now on know both CAs.
func (f Folder) StartRollover(issuer Issuer, keeper Keeper) (Folder, error) {
	changed := f.mark
	changed.Previous = f.mark.Signing
	switch begun := checkBegun(issuer.certificate, issuer.now); {
	case !f.RollingOver() && begun != nil:
		return Folder{}, fmt.Errorf("starting a roll-over: %w", begun)
	case f.RollingOver() && begun == nil:
		return Folder{}, errors.New("starting a roll-over: one is under way; \"rollover status\" tells who is left, \"rollover end\" ends it")
	case f.RollingOver():
		// The second CA was made while the clock was ahead, and nobody takes what it
		// signs: another takes its place.
		changed.Previous = f.mark.Previous
		changed.Abandoned = append(slices.Clone(f.mark.Abandoned), f.mark.Signing)
	}
	// An authority.json from before another roll-over is known by the roster.
	if _, err := f.People(); err != nil {
		return Folder{}, fmt.Errorf("starting a roll-over: %w", err)
	}
	// It would go on with what is revoked by an older copy.
	if err := f.CheckListed(); err != nil {
		return Folder{}, fmt.Errorf("starting a roll-over: %w", err)
	}
	number, err := f.nextNumber("ca", f.mark.Signing)
	if err != nil {
		return Folder{}, err
	}
	key, keyFile, kept, err := keeper.newKey(rand.Reader)
	if err != nil {
		return Folder{}, fmt.Errorf("making the second CA's key: %w", err)
	}
	if sameKey(key.Public(), issuer.certificate.PublicKey) {
		return Folder{}, errors.New("starting a roll-over: the key of the second CA is that of the first: give another")
	}
	next, err := newIssuer(f.nextCAName(number), number, key, issuer.now, rand.Reader)
	if err != nil {
		return Folder{}, err
	}
	list, err := next.crl(big.NewInt(1), nil)
	if err != nil {
		return Folder{}, err
	}
	changed.Skipped = slices.Clone(f.mark.Skipped)
	for between := f.mark.Signing + 1; between < number; between++ {
		changed.Skipped = append(changed.Skipped, between)
	}
	changed.Signing = number
	started, err := f.commit(issuer.now, changed, named{folder: filepath.Join("ca", strconv.Itoa(number)), inside: []NewFile{
		{"ca.crt", publicFile, bundle.CertificatesPEM(next.certificate)},
		{keyFile, privateFile, kept},
		{"revoked.tsv", privateFile, encodeRevoked(nil)},
		{"crl.pem", publicFile, crlPEM(list)},
	}}, Entry{Action: "rollover-start", Name: f.mark.Name, Certificate: next.certificate},
		signedEntry(next.certificate, caFiles{big.NewInt(1), hashOf(list), hashOf(encodeRevoked(nil))}))
	if err != nil {
		return Folder{}, fmt.Errorf("starting a roll-over: making the second CA: %w", err)
	}
	return started, nil
}

// EndRollover gives the gateway certificates of the CA that signs, and takes
// the one that it replaced out of force: its certificates connect no more.
func (f Folder) EndRollover(issuer Issuer) (Folder, error) {
	if !f.RollingOver() {
		return Folder{}, errors.New("ending the roll-over: none is under way; \"rollover start\" begins one")
	}
	if err := checkBegun(issuer.certificate, issuer.now); err != nil {
		return Folder{}, fmt.Errorf("ending the roll-over: %w; if that clock was wrong when the CA was made, \"rollover start\" makes another in its place", err)
	}
	// What the other's files lack is read from both of them, as that of a CA that was
	// replaced: it may be that its key is lost, and nothing can be signed with it.
	if _, _, err := f.listOf(f.mark.Signing); err != nil {
		return Folder{}, fmt.Errorf("ending the roll-over: %w", err)
	}
	changed := f.mark
	changed.Previous = 0
	ended, err := f.newServer(issuer, changed, Entry{Action: "rollover-end", Name: f.mark.Name, Certificate: issuer.certificate})
	if err != nil {
		return Folder{}, fmt.Errorf("ending the roll-over: %w", err)
	}
	return ended, nil
}

// RenewServer gives the gateway another certificate and key, and another probe.
// The key of tls-crypt-v2 stays, because those of people are wrapped in it.
// While a CA replaces another, the issuer is the one that is being replaced:
// profiles that are out know only that.
//
// With sans, its certificate has these DNS names from now on.
func (f Folder) RenewServer(issuers []Issuer, sans ...string) (Folder, error) {
	changed := f.mark
	if len(sans) > 0 {
		if err := checkNewSANs(sans); err != nil {
			return Folder{}, err
		}
		changed.ServerSANs = sans
	}
	return f.newServer(issuers[len(issuers)-1], changed)
}

func (f Folder) newServer(issuer Issuer, changed mark, entries ...Entry) (Folder, error) {
	wrapper, err := f.Wrapper()
	if err != nil {
		return Folder{}, err
	}
	if changed.Server, err = f.nextNumber("server", f.mark.Server); err != nil {
		return Folder{}, err
	}
	files, certificates, err := serverFiles(issuer, changed, wrapper)
	if err != nil {
		return Folder{}, err
	}
	for i, file := range files {
		files[i].Path = filepath.Base(file.Path)
	}
	for _, c := range certificates {
		entries = append(entries, Entry{Action: c.action, Name: nameOf(c.certificate), Certificate: c.certificate})
	}
	renewed, err := f.commit(issuer.now, changed, named{filepath.Join("server", strconv.Itoa(changed.Server)), files, certificates}, entries...)
	if err != nil {
		return Folder{}, fmt.Errorf("making the gateway's certificates: %w", err)
	}
	return renewed, nil
}

// Dependent is somebody who cannot connect any more once the roll-over ends.
type Dependent struct {
	Person Person
	Until  time.Time // end of the certificate of the CA that is being replaced
}

// Dependents are those people whose only certificates in force are of the CA
// that is being replaced.
func (f Folder) Dependents(now time.Time) ([]Dependent, error) {
	people, err := f.People()
	if err != nil {
		return nil, err
	}
	standing, err := f.Standing(now)
	if err != nil {
		return nil, err
	}
	var dependents []Dependent
	for _, p := range people {
		var until time.Time
		moved := false
		for _, c := range standing.Live(p) {
			moved = moved || c.CA == f.mark.Signing && standing.State(c) == Good
			if c.CA == f.mark.Previous && c.NotAfter.After(until) {
				until = c.NotAfter
			}
		}
		if !moved && !until.IsZero() {
			dependents = append(dependents, Dependent{p, until})
		}
	}
	return dependents, nil
}
