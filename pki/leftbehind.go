// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
	"github.com/vpnami/packer-plugin-vpnami/pki/profile"
)

// leftBehindError is that profiles are there of certificates that never got into the
// roster: a command was killed between the two.
type leftBehindError struct{ error }

func (e leftBehindError) Unwrap() error { return e.error }

// planned is what a plan says. Of another command that runs now, profiles are there as well
// before their people are in the roster: what was left behind is told once nobody writes.
func planned(ctx context.Context, folder authority.Folder, plan func(authority.Folder) error) error {
	err := plan(folder)
	if _, is := errors.AsType[leftBehindError](err); !is {
		return err
	}
	current, release, err := folder.Lock(ctx)
	if err != nil {
		return err
	}
	return errors.Join(plan(current), release())
}

// serialThere is that of the certificate in the profile of a person that is there; nil, if
// it cannot be told.
func (o issuing) serialThere(name string) *big.Int {
	path := filepath.Join(o.out, o.form.Text(name))
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil // a pipe would be waited for
	}
	text, err := readUpTo(path, directives.MaxBytes)
	if err != nil {
		return nil
	}
	serial, is := profile.SerialIn(text)
	if !is {
		return nil
	}
	return serial
}

// isLeft tells whether the profile that is there has a certificate that was made here for
// the person, and that the roster does not have.
func (o issuing) isLeft(folder authority.Folder, person authority.Person) bool {
	serial := o.serialThere(person.Name)
	if serial == nil || slices.ContainsFunc(person.Certificates, func(c authority.Issued) bool { return c.Serial == serial.String() }) {
		return false
	}
	made, err := folder.Kept(serial)
	return err == nil && made.Name == person.Name
}

// refuseThere refuses to overwrite a profile. One that a renewal has just made may be
// there without what was to follow.
func (o issuing) refuseThere(person authority.Person, path string) error {
	err := fmt.Errorf("%s %q: %q is there: it is not overwritten, move it away or choose another folder with --out", o.doing, person.Name, path)
	last, _ := person.Last()
	if serial := o.serialThere(person.Name); o.doing == renewing && serial != nil && serial.String() == last.Serial {
		err = fmt.Errorf("%w; it has their newest certificate: if a \"renew --revoke-old\" broke off, \"vpnami-pki show %s\" has the older ones, which \"vpnami-pki revoke --serial\" takes back", err, person.Name)
	}
	return err
}

// there are the files of a person's profile that are there.
func (o issuing) there(name string) []string {
	return slices.DeleteFunc(o.paths(name), func(path string) bool { _, err := os.Lstat(path); return err != nil })
}

// toMove says which files are to be moved away, so that they can be copied.
func toMove(paths []string) string {
	var words []string
	for _, path := range paths {
		words = append(words, shellWord(path))
	}
	return strings.Join(words, " ")
}

// refuseLeft says what may be left of a command that broke off, and what to do. It looks
// as if a file of people/ were lost, and then the profile may be somebody's only key.
func (o issuing) refuseLeft(names, paths []string) error {
	if len(names) == 1 {
		return leftBehindError{fmt.Errorf("%s %q: %s is there, and its certificate is not in the roster: if people/%s.json was lost, or is an older one, put it back from your newest copy of the folder; else a command broke off before anybody was let in with it: move it away, and give the command again",
			o.doing, names[0], toMove(paths), strings.ToLower(names[0]))}
	}
	return leftBehindError{fmt.Errorf("%s %s: profiles are there whose certificates are not in the roster: if files in people/ were lost, or are older ones, put them back from your newest copy of the folder; else a command broke off before anybody was let in with them: move them away, and give the command again: %s",
		o.doing, some(names), toMove(paths))}
}

// amongMany adds to why somebody's name is taken what there is of the others: a command
// that broke off may have done some.
func (o issuing) amongMany(folder authority.Folder, name string, why error) error {
	standing, err := folder.Standing(o.now)
	if err != nil {
		return why
	}
	var in, left []string
	for _, wanted := range o.people {
		person, _, err := folder.Person(wanted.Name)
		if err != nil {
			return why
		}
		person.Name = wanted.Name
		switch {
		case len(standing.Live(person)) > 0:
			in = append(in, wanted.Name)
		case o.isLeft(folder, person):
			left = append(left, o.there(wanted.Name)...)
		}
	}
	switch {
	case len(o.people) == 1 || !slices.Contains(in, name):
		return why
	case len(in) == len(o.people):
		return fmt.Errorf("%w; all %d are in the roster already: whose profile was lost gets another with \"vpnami-pki renew\"", why, len(in))
	}
	why = fmt.Errorf("%w; %d of these %d are in the roster already, %s: give the command again without them (\"vpnami-pki list\" has them all)", why, len(in), len(o.people), some(in))
	if len(left) == 0 {
		return why
	}
	return leftBehindError{fmt.Errorf("%w; of others profiles are there whose certificates are not in the roster, as of a command that broke off: if people/ is whole, move those away before: %s", why, toMove(left))}
}
