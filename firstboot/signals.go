// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// The tags by which a gateway that serves tells what will end that, if nobody does
// anything. The alarms of images/launch look for another value than [signalGood].
const (
	certificateTag = "vpnami:status-certificate"
	syncTag        = "vpnami:status-sync"
	signalGood     = "good"
)

// failingAfter is how long a sync may fail before somebody is called: three of the
// tries that are [retryAfter] apart, so that what passes by itself calls nobody.
const failingAfter = 3 * retryAfter

// Signals is what the tags say of an instance.
type Signals struct {
	Instance    string `json:"instance"`
	Certificate string `json:"certificate"`
	Sync        string `json:"sync"`
}

// signalsOf is what there is to be told of what is in force and of the last sync.
// The words about an end change once a day, so that each day calls somebody anew;
// those about a sync do not.
func signalsOf(r Result, end SyncEnd, now time.Time) Signals {
	s := Signals{Instance: r.Instance, Certificate: signalGood, Sync: signalGood}
	if r.Server != nil && r.CRL != nil {
		// The first to end is told of.
		first, ends := r.Server.NotAfter, "server certificate ends"
		if ca := r.Server.CANotAfter; !ca.IsZero() && ca.Before(first) {
			first, ends = ca, "CA certificate ends"
		}
		switch due := r.CRL.NextUpdate; {
		case first.Sub(now) < bundle.EndsSoon:
			s.Certificate = ends + " " + day(first, now)
		// What it revokes stays revoked: it is overdue, and nobody is shut out.
		case !due.IsZero() && due.Before(now):
			s.Certificate = "CRL was to be renewed by " + day(due, now)
		}
	}
	if end.Cause != "" && !end.Failing.IsZero() && now.Sub(end.Failing) >= failingAfter {
		s.Sync = "failing since " + end.Failing.UTC().Format(time.RFC3339)
	}
	return s
}

// tell sets the tags, where they would say something else than they do.
func (b boot) tell(ctx context.Context) {
	r, err := b.finished()
	if err != nil || r.Role != RoleVPN {
		return // the tag of the result has it all, and a bastion has no role
	}
	end, err := readSync(b.layout.sync())
	if err != nil {
		b.log.Warn(err.Error())
		return
	}
	say := signalsOf(r, end, b.now())
	// What keeps a sync from AWS keeps this from it too: to try costs each sync the
	// time of one more answer, and is worth that when there is a failure to tell of.
	if say == end.Told || end.Cause != "" && say.Sync == signalGood {
		return
	}
	// The sync's deadline may be over, which is one of the things to be told.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tagWithin)
	defer cancel()
	instance, err := identify(ctx, b.metadata)
	if err == nil {
		err = setTags(ctx, b.services(instance.Region).tags, instance.ID, tag{certificateTag, say.Certificate}, tag{syncTag, say.Sync})
	}
	if err != nil {
		b.log.Warn(fmt.Sprintf("telling how it is: %s", oneLine(err)))
		return
	}
	end.Told = say
	b.note(end)
}
