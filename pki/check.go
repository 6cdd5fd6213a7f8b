// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// ending is something that ends, and its form with --json.
type ending struct {
	Kind     string    `json:"kind"` // "ca", "server", "probe", "crl", "client"
	Name     string    `json:"name"`
	NotAfter time.Time `json:"not_after"`
	Days     int       `json:"days"` // whole days left; below 0: it has ended
	Remedy   string    `json:"remedy"`
	// NotBefore is of what has not begun: the clock was ahead when it was made.
	NotBefore *time.Time `json:"not_before,omitempty"`
}

// errToDo has the exit code that monitoring looks for.
var errToDo = errors.New("there is something to do")

func (d *desk) checkCommand() *cobra.Command {
	var days int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Tell what ends soon, for monitoring",
		Long: `Tells what has ended or ends within --days: CAs, the gateway's certificates, the
CRLs, and those people's certificates that are in force or ended within a week,
each with what to do; and what has not begun, because this machine's clock was ahead
when it was made.

It also reads what there is to publish as a gateway would, and fails where that
would refuse it; and it tells when log.jsonl is gone, by which alone older files of a
CA are known that were put back.

Exit codes: 0 nothing ends, 3 something does, or the log is gone, 1 the authority
could not be read or would be refused, 2 the command line is wrong.`,
		Example: "  vpnami-pki check --folder office --days 30\n  vpnami-pki check --folder office --json",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			const most = 100 * 365
			if days < 0 || days > most {
				return usage(cmd, "--days is %d, it must be 0 to %d", days, most)
			}
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			unlogged := folder.CheckLogged()
			if unlogged != nil {
				d.warn("%v", unlogged)
			}
			ends, err := d.check(folder, time.Duration(days)*24*time.Hour)
			if err != nil {
				return err
			}
			ends = in(folder, ends)
			if asJSON {
				err = d.encode(ends)
			} else {
				d.sayEndings(ends, days)
			}
			if err == nil && (len(ends) > 0 || unlogged != nil) {
				return errToDo
			}
			return err
		},
	}
	cmd.Flags().IntVar(&days, "days", 30, "how far to look ahead")
	cmd.Flags().BoolVar(&asJSON, "json", false, "a list of objects, for programs")
	d.folderFlag(cmd)
	return cmd
}

// check reads what ends within a time, and says what is in doubt.
func (d *desk) check(folder authority.Folder, within time.Duration) (ends []ending, err error) {
	err = d.look(folder, func(folder authority.Folder) ([]error, error) {
		people, standing, doubts, err := everybody(folder, d.now())
		if err == nil {
			ends, err = endings(folder, people, standing, within, d.now())
		}
		return doubts, err
	})
	return ends, err
}

// in has the remedies say which folder they are for.
func in(folder authority.Folder, ends []ending) []ending {
	for i, e := range ends {
		if strings.HasPrefix(e.Remedy, "vpnami-pki ") {
			ends[i].Remedy += " --folder " + shellWord(folder.Path())
		}
	}
	return ends
}

// endings finds what ends within a time, what ends first in front.
func endings(folder authority.Folder, people []authority.Person, standing authority.Standing, within time.Duration, now time.Time) ([]ending, error) {
	ends := []ending{}
	add := func(kind, name string, notBefore *time.Time, notAfter time.Time, remedy string) {
		ends = append(ends, ending{kind, name, notAfter, daysTo(notAfter, now), remedy, notBefore})
	}
	look := func(kind, name string, notAfter time.Time, remedy string) {
		if notAfter.Sub(now) <= within {
			add(kind, name, nil, notAfter, remedy)
		}
	}
	begins := func(kind, name string, notBefore, notAfter time.Time, remedy string) {
		if now.Before(notBefore) {
			add(kind, name, &notBefore, notAfter, remedy)
		}
	}
	server, access, err := contents(folder, people, standing, now)
	if err != nil {
		return nil, err
	}
	cas := folder.CAs()
	another, inPlace := "vpnami-pki rollover start", "wait until then, or make a new authority (vpnami-pki init)"
	if folder.RollingOver() {
		another, inPlace = "vpnami-pki rollover end", "vpnami-pki rollover start"
	}
	// A CA that is being replaced signs nothing more where its key is lost.
	kept := folder.KeptKeys()
	signed := func(by string, place int) string {
		if slices.Contains(kept, place) {
			return by
		}
		return another
	}
	// What ends with its CA is not made longer by the same CA.
	renewed := func(by string, notAfter time.Time, place int) string {
		if notAfter.Before(cas[place].NotAfter) {
			return signed(by, place)
		}
		return another
	}
	for _, ca := range cas {
		look("ca", shown(ca.Subject.CommonName), ca.NotAfter, another)
		begins("ca", shown(ca.Subject.CommonName), ca.NotBefore, ca.NotAfter, inPlace)
	}
	gateways := func(kind string, c *x509.Certificate) {
		const renew = "vpnami-pki renew-server"
		look(kind, shown(c.Subject.CommonName), c.NotAfter, renewed(renew, c.NotAfter, len(cas)-1))
		begins(kind, shown(c.Subject.CommonName), c.NotBefore, c.NotAfter, signed(renew, len(cas)-1))
	}
	gateways("server", server.Certificate)
	gateways("probe", server.Probe.Certificate)
	for i, list := range access.CRLs() {
		const sign = "vpnami-pki crl"
		look("crl", shown(cas[i].Subject.CommonName), list.NextUpdate, renewed(sign, list.NextUpdate, i))
		if !now.Before(cas[i].NotBefore) { // else it begins with its CA
			begins("crl", shown(cas[i].Subject.CommonName), list.ThisUpdate, list.NextUpdate, signed(sign, i))
		}
	}
	for _, p := range people {
		// Somebody with two certificates is out when the later ends; somebody
		// whose last one was revoked is out already, and meant to be.
		// A week after their end they have noticed, or have left: a monitor that
		// is red for ever is looked at by nobody.
		c, ok := foremost(standing, p)
		if !ok || now.After(c.NotAfter.Add(authority.EndedFor)) {
			continue
		}
		renew := "vpnami-pki renew " + p.Name
		switch state := standing.State(c); {
		case abandoned(standing, c):
			add("client", p.Name, &c.NotBefore, c.NotAfter, renew)
		case state != authority.Revoked && state != authority.Foreign:
			look("client", p.Name, c.NotAfter, renewed(renew, c.NotAfter, 0))
			begins("client", p.Name, c.NotBefore, c.NotAfter, renew)
		}
	}
	slices.SortStableFunc(ends, func(a, b ending) int { return a.NotAfter.Compare(b.NotAfter) })
	// What of the gateway's has ended, or not begun, is refused as well, and is told of with
	// its remedy.
	if slices.ContainsFunc(ends, func(e ending) bool {
		return e.Kind != "client" && e.Kind != "crl" && (e.Days < 0 || e.NotBefore != nil)
	}) {
		return ends, nil
	}
	return ends, checkTaken(server, access, now)
}

// daysTo are whole days; below 0: it is over.
func daysTo(at, now time.Time) int {
	left := at.Sub(now)
	if left < 0 {
		return int(left/(24*time.Hour)) - 1
	}
	return int(left / (24 * time.Hour))
}

func (d *desk) sayEndings(ends []ending, days int) {
	if len(ends) == 0 {
		d.say("nothing ends within %s", plural(days, "day", "days"))
		return
	}
	width := 0
	for _, e := range ends {
		width = max(width, len(e.Name))
	}
	for _, e := range ends {
		left := "ends in " + plural(e.Days, "day", "days")
		if e.Days < 0 {
			left = "ended " + plural(-e.Days, "day", "days") + " ago"
		}
		when := e.NotAfter
		if e.NotBefore != nil {
			left, when = "begins only then", *e.NotBefore
		}
		d.say("%-6s  %s%s  %s  %-18s  %s", e.Kind, e.Name, strings.Repeat(" ", width-len(e.Name)), day(when), left, e.Remedy)
	}
}
