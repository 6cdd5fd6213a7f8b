// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// State is how a certificate stands.
type State string

// The states of a certificate.
const (
	Good    State = "good"
	NotYet  State = "not yet" // before its beginning: it was made while the clock was ahead
	Ended   State = "ended"   // past its end
	Revoked State = "revoked" // taken back
	Foreign State = "foreign" // of a CA that is no longer in force
)

// Standing tells how certificates stand at one moment.
type Standing struct {
	now     time.Time
	cas     []int
	dropped []int                 // CAs in whose place another was made before they began
	revoked map[string]Revocation // by decimal serial
	unread  map[int]error         // why it is not known what a CA that is or was replaced took back, by number
}

// Standing reads what is revoked. What becomes of the files of a CA that is being
// replaced, or was, keeps nobody from revoking: [Standing.Unread] tells of it.
func (f Folder) Standing(now time.Time) (Standing, error) {
	all, lacking, err := f.inForce()
	if err != nil {
		return Standing{}, err
	}
	// What a CA that was replaced took back is no longer published, and stays
	// known.
	old, unread := f.tookBack()
	if lacking != nil {
		unread[f.mark.Previous] = lacking
	}
	all = append(all, old)
	s := Standing{now: now, cas: f.mark.numbers(), dropped: f.mark.Abandoned, revoked: map[string]Revocation{}, unread: unread}
	for _, list := range all {
		s.add(list)
	}
	return s, nil
}

func (s Standing) add(revoked []Revocation) {
	for _, r := range revoked {
		s.revoked[r.Serial.String()] = r
	}
}

// Abandoned tells whether a certificate is of a CA in whose place another was made
// before it began: nobody ever came in with it.
func (s Standing) Abandoned(c Issued) bool { return slices.Contains(s.dropped, c.CA) }

// Unread is why it is not known which certificates of some people were taken back by
// a CA that is being replaced, or was; nil, if it is known.
func (s Standing) Unread(people ...Person) error {
	var unread error
	for _, number := range slices.Sorted(maps.Keys(s.unread)) {
		if slices.ContainsFunc(people, func(p Person) bool {
			return slices.ContainsFunc(p.Certificates, func(c Issued) bool { return c.CA == number })
		}) {
			unread = errors.Join(unread, s.unread[number])
		}
	}
	return unread
}

// Unrevoked are the certificates of a person that a CA in force signed and nobody took
// back. Those that have ended are among them: that is the clock's word, which may be
// wrong, and a revocation is for good.
func (s Standing) Unrevoked(p Person) []Issued {
	return slices.DeleteFunc(slices.Clone(p.Certificates), func(c Issued) bool {
		_, revoked := s.revoked[c.Serial]
		return revoked || !slices.Contains(s.cas, c.CA)
	})
}

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
	case s.now.Before(c.NotBefore):
		return NotYet
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
		// Nobody came in by a CA that was abandoned; who was only renewed there is not out.
		counts := !s.Abandoned(c) || by.Reason == Superseded
		return !revoked && counts && c.NotAfter.After(by.At) && (c.CA >= last.CA || slices.Contains(s.cas, c.CA))
	}) {
		return Issued{}, Revocation{}, false
	}
	return last, by, true
}

// Live are those certificates of a person with which they may come in, now or, where
// the clock was ahead, later.
func (s Standing) Live(p Person) []Issued {
	var live []Issued
	for _, c := range p.Certificates {
		if state := s.State(c); state == Good || state == NotYet {
			live = append(live, c)
		}
	}
	return live
}
