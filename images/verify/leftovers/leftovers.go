// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package leftovers ends what a boot verification on AWS made, by what AWS itself has
// of it: when the verification was killed, or its machine with Terraform's state is
// gone, nobody else knows what there is.
package leftovers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
)

const (
	// Tag is on all that a launch makes; its value is the launch's name.
	Tag = "vpnami:launch"
	// RegionTag is to be on it too: IAM has no regions, and by this what is found there
	// tells where the rest is.
	RegionTag = "verify-region"

	prefix = "verify-"
	layout = "20060102t150405z"
)

// Name is the name of a verification's launch: it tells when it began, and is in the
// name or the tags of everything that belongs to it.
func Name(began time.Time) string { return prefix + began.UTC().Format(layout) }

// Secret is the beginning of the names of its secrets.
func Secret(name string) string { return secretFolder + name }

const secretFolder = "vpnami-verify/" //nolint:gosec // the beginning of a name, no secret

// launchOf is the name of the verification that a name or a tag's value begins with,
// and when it began.
func launchOf(text string) (name string, began time.Time, ok bool) {
	if len(text) < len(prefix)+len(layout) || !strings.HasPrefix(text, prefix) {
		return "", time.Time{}, false
	}
	name = text[:len(prefix)+len(layout)]
	began, err := time.Parse(layout, name[len(prefix):])
	return name, began, err == nil
}

// Leftover is one thing that a verification made.
type Leftover struct {
	Region   string // where its launch is, also of what has no region itself
	Kind, ID string
	Launch   string // the verification

	end func(context.Context) error
}

func (l Leftover) String() string {
	return fmt.Sprintf("%s %s of %s in %s", l.Kind, l.ID, l.Launch, l.Region)
}

// finder finds what there is of one kind, of whatever launch.
type finder func(context.Context) ([]Leftover, error)

// findOld is what those find of verifications that began before that time.
func findOld(ctx context.Context, before time.Time, finders []finder) ([]Leftover, error) {
	var all []Leftover
	for _, find := range finders {
		found, err := find(ctx)
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			if name, began, ok := launchOf(l.Launch); ok && began.Before(before) {
				l.Launch = name
				all = append(all, l)
			}
		}
	}
	return all, nil
}

// Account is where verifications run, in one region of it.
type Account struct {
	cfg aws.Config
	iam *iam.Client
}

// Open makes the clients.
func Open(cfg aws.Config) Account { return Account{cfg, iam.NewFromConfig(cfg)} }

// found is what is left of verifications, by when it is ended: IAM's last, for by that
// alone is the rest found from another region.
type found struct {
	regional, global []Leftover
	// unseen are regions in which something of IAM's says that its launch is, and which
	// could not be looked at. What IAM has of those launches is not in the list.
	unseen map[string]error
}

// find looks at this region, at IAM, and at the regions of which things of IAM's tell.
func (a Account) find(ctx context.Context, before time.Time) (found, error) {
	global, err := a.global(ctx, before)
	if err != nil {
		return found{}, err
	}
	f := found{unseen: map[string]error{}}
	if f.regional, err = a.in(a.cfg.Region).find(ctx, before); err != nil {
		return found{}, err
	}
	others := map[string]bool{}
	for _, l := range global {
		others[l.Region] = l.Region != a.cfg.Region
	}
	for _, region := range slices.Sorted(maps.Keys(others)) {
		if !others[region] {
			continue
		}
		there, err := a.in(region).find(ctx, before)
		if err != nil {
			f.unseen[region] = err
			continue
		}
		f.regional = append(f.regional, there...)
	}
	for _, l := range global {
		if f.unseen[l.Region] == nil {
			f.global = append(f.global, l)
		}
	}
	return f, nil
}

// Find finds what is left of verifications that began before that time: in this
// region, in IAM, and in the regions of which things of IAM's tell.
func (a Account) Find(ctx context.Context, before time.Time) ([]Leftover, error) {
	f, err := a.find(ctx, before)
	if err != nil {
		return nil, err
	}
	for region, err := range f.unseen {
		return nil, fmt.Errorf("looking at %s: %w", region, err)
	}
	return append(f.regional, f.global...), nil
}

// End ends it all and tells of each, but for the launch of that name, with which this
// run goes on. What cannot be ended does not keep the rest; in another region it is
// told and left to a run there, for it is none of this one's business.
func (a Account) End(ctx context.Context, before time.Time, own string, tell func(string)) error {
	f, err := a.find(ctx, before)
	if err != nil {
		return fmt.Errorf("looking for what earlier verifications left: %w", err)
	}
	for _, region := range slices.Sorted(maps.Keys(f.unseen)) {
		tell(fmt.Sprintf("there is something left in %s, which cannot be looked at; a run there ends it: %v", region, f.unseen[region]))
	}
	var failed []error
	kept := map[string]bool{} // launches of which something could not be ended
	end := func(l Leftover) {
		if err := l.end(ctx); err != nil && !isGone(err) {
			kept[l.Launch] = true
			err = fmt.Errorf("ending %s: %w", l, err)
			if l.Region == a.cfg.Region {
				failed = append(failed, err)
			} else {
				tell(err.Error())
			}
			return
		}
		tell("ended " + l.String())
	}
	for _, l := range f.regional {
		if l.Launch != own {
			end(l)
		}
	}
	for _, l := range f.global {
		if l.Launch != own && !kept[l.Launch] {
			end(l)
		}
	}
	return errors.Join(failed...)
}

// isGone tells whether AWS says that it has no such thing any more: two runs that begin
// at the same time find the same. Where one call has to come before another, it is asked
// of each: what hung on a thing may be gone, and the thing still there.
func isGone(err error) bool {
	api, is := errors.AsType[smithy.APIError](err)
	return is && (strings.Contains(api.ErrorCode(), "NotFound") || api.ErrorCode() == "NoSuchEntity" || api.ErrorCode() == "Gateway.NotAttached")
}
