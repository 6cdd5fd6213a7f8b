// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Signed is a list that was signed.
type Signed struct {
	Number    *big.Int // nil, where no list could be signed, or put in place
	Until     time.Time
	Listed    int
	TakenOver []TakenOver
}

// TakenOver is a revocation that nobody asked for just now: revoked.tsv lacked it, and
// the list signed before or the log had it.
type TakenOver struct {
	Revocation
	Name string // in the certificate; empty, if that is not kept
}

func (f Folder) takenOver(revoked []Revocation) []TakenOver {
	var all []TakenOver
	for _, r := range revoked {
		over := TakenOver{Revocation: r}
		if c, err := f.certificate(certificateFileOf(r.Serial)); err == nil {
			over.Name = c.Subject.CommonName
		}
		all = append(all, over)
	}
	return all
}

// RenewCRL signs the CRL of the issuer's CA anew when half of its life is
// over, or when it begins in the future: the clock was ahead then, and the list
// may lack what seemed to have ended. Issuing calls it, because the key is open
// then; it does not read the list's entries, of which there may be a hundred
// thousand. It returns what the list has besides.
func (f Folder) RenewCRL(issuer Issuer) ([]TakenOver, error) {
	signed, err := f.signed(issuer.number)
	if err != nil {
		return nil, err
	}
	if !issuer.now.Before(signed.head.ThisUpdate) && issuer.now.Before(signed.head.NextUpdate.Add(-CRLLife/2)) {
		return nil, nil
	}
	renewed, err := f.SignCRL(issuer)
	return renewed.TakenOver, err
}

// SignCRL signs the CRL of the issuer's CA with the next number. What ended long ago
// falls out of the list; revoked.tsv keeps it: whether something has ended is the
// clock's word, which may be wrong once, and a revocation is for good.
func (f Folder) SignCRL(issuer Issuer) (Signed, error) {
	g, err := f.gather(issuer.number, issuer.certificate, new(big.Int))
	if err != nil {
		return Signed{}, err
	}
	signed, err := f.SignGathered(issuer.now, []Issuer{issuer}, g)
	if len(signed) == 0 {
		return Signed{}, err
	}
	return signed[0], err
}

// SignGathered is [Folder.SignCRL] of what was gathered of some CAs, in one turn. Of one
// that has no issuer, because its key is lost, it writes down what is revoked, and the
// list stays as it is. It returns what became of each; nothing, if nothing is changed.
func (f Folder) SignGathered(now time.Time, issuers []Issuer, all ...Gathered) ([]Signed, error) {
	var turns []turn
	for _, g := range all {
		t := turn{gathered: g}
		if i := slices.IndexFunc(issuers, func(issuer Issuer) bool { return issuer.number == g.number }); i >= 0 {
			t.issuer = issuers[i]
		}
		turns = append(turns, t)
	}
	return f.sign(now, turns)
}

// turn is what becomes of one CA when lists are signed.
type turn struct {
	issuer   Issuer // without a key, where that is lost
	gathered Gathered
	more     []Revocation // what it is to take back
	entries  []Entry      // what the log is to have of them
}

// sign signs the lists of some CAs. All of it is on the disk, under temporary names,
// before the log tells of it: a full disk, and a key that is refused, change nothing.
func (f Folder) sign(now time.Time, turns []turn) ([]Signed, error) {
	var lists []newList
	discarded := func(err error) ([]Signed, error) {
		for _, list := range lists {
			err = errors.Join(err, list.tsv.Discard(), list.crl.Discard())
		}
		return nil, err
	}
	var entries []Entry
	for _, t := range turns {
		list, told, err := f.newList(t)
		if err != nil {
			return discarded(err)
		}
		lists, entries = append(lists, list), append(entries, told...)
	}
	if len(entries) > 0 {
		if err := f.Log(now, entries...); err != nil {
			return discarded(err)
		}
	}
	signed := make([]Signed, len(lists))
	var failed error
	for i, list := range lists {
		var err error
		signed[i], err = f.put(now, list)
		failed = errors.Join(failed, err)
	}
	return signed, failed
}

// newList is a list, with the revoked.tsv that belongs to it, which have no names yet.
type newList struct {
	turn
	signed Signed
	tsv    Prepared // of no file, where it is as it was
	crl    Prepared // of no file, where nothing can be signed
}

// newList signs a list. It returns what the log is to have: the list before what was
// revoked with it, so that whatever is broken off after a part of that is noticed.
func (f Folder) newList(t turn) (newList, []Entry, error) {
	g := t.gathered
	if g.lacking && len(t.more) > 0 { // the log may have had them
		is := serialsIn(t.more)
		asked := func(r Revocation) bool { return is[r.Serial.String()] }
		g.revoked, g.missed = slices.DeleteFunc(g.revoked, asked), slices.DeleteFunc(g.missed, asked)
	}
	if len(t.more) > 0 {
		g.revoked, g.lacking = append(g.revoked, t.more...), true
	}
	hash := g.there.revoked
	var tsv []NewFile
	if g.lacking {
		raw := encodeRevoked(g.revoked)
		hash = hashOf(raw)
		tsv = append(tsv, NewFile{f.at(caFile(g.number, "revoked.tsv")), privateFile, raw})
	}
	signed, crl, told, err := f.crlOf(g, t.issuer, hash)
	if err != nil {
		return newList{}, nil, err
	}
	signed.TakenOver = f.takenOver(g.missed)
	list := newList{turn: t, signed: signed}
	if list.tsv, err = Prepare(tsv); err != nil {
		return newList{}, nil, fmt.Errorf("writing what is revoked: %w", err)
	}
	if list.crl, err = Prepare(crl); err != nil {
		return newList{}, nil, errors.Join(fmt.Errorf("writing the CRL: %w", err), list.tsv.Discard())
	}
	return list, slices.Concat(g.found, told, t.entries), nil
}

// crlOf signs what was gathered, beside a revoked.tsv of a hash, where the key is there.
func (f Folder) crlOf(g Gathered, issuer Issuer, revoked string) (Signed, []NewFile, []Entry, error) {
	if issuer.key == nil {
		// An older list leaves the number where it is, or another would have it again.
		if g.told && !g.lacking || g.there.number.Cmp(g.last) != 0 {
			return Signed{}, nil, nil, nil
		}
		return Signed{}, nil, []Entry{keptEntry(g.ca, caFiles{g.there.number, g.there.list, revoked})}, nil
	}
	number, listed := new(big.Int).Add(g.last, big.NewInt(1)), unexpired(g.revoked, issuer.now)
	der, err := issuer.crl(number, listed)
	if err != nil {
		return Signed{}, nil, nil, err
	}
	head, err := readCRLHead(der)
	return Signed{Number: number, Until: head.NextUpdate, Listed: len(listed)},
		[]NewFile{{f.at(caFile(g.number, "crl.pem")), publicFile, crlPEM(der)}},
		[]Entry{signedEntry(g.ca, caFiles{number, hashOf(der), revoked})}, err
}

// put gives the files of a list their names. What is revoked comes first: a list that
// lacks some of it is noticed.
func (f Folder) put(now time.Time, list newList) (Signed, error) {
	over := Signed{TakenOver: list.signed.TakenOver}
	if err := list.tsv.Replace(); err != nil {
		if !list.tsv.mayBeThere() {
			over = Signed{}
		}
		return over, errors.Join(fmt.Errorf("writing what is revoked: %w", err), list.crl.Discard(), f.deny(now, list.turn))
	}
	if err := list.crl.Replace(); err != nil {
		return over, fmt.Errorf("writing the CRL: %w", err)
	}
	return list.signed, nil
}

// deny has the log say that some revocations failed of which it has told already, and
// nobody takes a line out. What revoked.tsv has all the same is revoked, and on the next
// list: that must not be denied.
func (f Folder) deny(now time.Time, t turn) error {
	is := serialsIn(f.left(t))
	var denied []Entry
	for _, entry := range t.entries {
		if is[entry.Serial.String()] {
			denied = append(denied, entry)
		}
	}
	if len(denied) == 0 {
		return nil
	}
	return f.Log(now, undone(denied)...)
}

// left is what was to be taken back, and is not, by revoked.tsv.
func (f Folder) left(t turn) []Revocation {
	revoked, err := f.revocations(t.issuer.number)
	if err != nil {
		return t.more
	}
	written := serialsIn(revoked)
	return slices.DeleteFunc(slices.Clone(t.more), func(r Revocation) bool { return written[r.Serial.String()] })
}
