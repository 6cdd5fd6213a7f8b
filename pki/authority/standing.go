// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"io/fs"
	"slices"
	"time"
)

// State is how a certificate stands.
type State string

// The states of a certificate.
const (
	Good    State = "good"
	Ended   State = "ended"   // past its end
	Revoked State = "revoked" // taken back
	Foreign State = "foreign" // of a CA that is no longer in force
)

// Standing tells how certificates stand at one moment.
type Standing struct {
	now     time.Time
	cas     []int
	revoked map[string]Revocation // by decimal serial
	unread  error                 // what a CA that was replaced took back and cannot be read
}

// Standing reads what is revoked. A CA that was replaced lets nobody in, so what
// becomes of its files keeps nobody from revoking: [Standing.Unread] tells of it.
func (f Folder) Standing(now time.Time) (Standing, error) {
	all, err := f.Revocations()
	if err != nil {
		return Standing{}, err
	}
	// What a CA that was replaced took back is no longer published, and stays
	// known.
	var unread error
	for number := range f.mark.Signing {
		if slices.Contains(f.mark.numbers(), number) {
			continue
		}
		old, err := f.revocations(number)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			unread = errors.Join(unread, err)
		}
		all = append(all, old)
	}
	s := Standing{now: now, cas: f.mark.numbers(), revoked: map[string]Revocation{}, unread: unread}
	for _, list := range all {
		for _, r := range list {
			s.revoked[r.Serial.String()] = r
		}
	}
	return s, nil
}

// Unread is why it is not known whom a CA that was replaced took out; nil, if it is
// known.
func (s Standing) Unread() error { return s.unread }

// State is how a certificate stands.
func (s Standing) State(c Issued) State {
	_, revoked := s.revoked[c.Serial]
	switch {
	case revoked:
		return Revoked
	case s.now.After(c.NotAfter):
		return Ended
	case !slices.Contains(s.cas, c.CA):
		return Foreign
	}
	return Good
}

// Revocation tells when and why a certificate was revoked.
func (s Standing) Revocation(c Issued) (Revocation, bool) {
	r, revoked := s.revoked[c.Serial]
	return r, revoked
}

// Out tells whether a person was taken out, and by which certificate: a revocation,
// with which nothing of theirs was left in force, and nothing was issued to them
// since. What changes nothing of it: a shorter certificate that had ended by then,
// and one of a CA that was replaced before.
func (s Standing) Out(p Person) (Issued, Revocation, bool) {
	var last Issued
	var by Revocation
	for _, c := range p.Certificates {
		if r, revoked := s.revoked[c.Serial]; revoked && !r.At.Before(by.At) {
			last, by = c, r
		}
	}
	if by.Serial == nil || len(s.Live(p)) > 0 || slices.ContainsFunc(p.Certificates, func(c Issued) bool {
		_, revoked := s.revoked[c.Serial]
		return !revoked && c.NotAfter.After(by.At) && (c.CA >= last.CA || slices.Contains(s.cas, c.CA))
	}) {
		return Issued{}, Revocation{}, false
	}
	return last, by, true
}

// Live are those certificates of a person with which they may come in.
func (s Standing) Live(p Person) []Issued {
	var live []Issued
	for _, c := range p.Certificates {
		if s.State(c) == Good {
			live = append(live, c)
		}
	}
	return live
}
