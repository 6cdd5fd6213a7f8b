// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

func (d *desk) publishCommand() *cobra.Command {
	var order publishOrder
	var tags []string
	cmd := &cobra.Command{
		Use:   "publish --secret PREFIX",
		Short: "Put what the gateway needs into AWS Secrets Manager",
		Long: `Writes the secrets that a gateway reads: PREFIX/server (certificates and keys),
PREFIX/access/000 and so on (revocations and roster), PREFIX/access (what of
these belongs together, written last). Secrets that are not there are made. What
has not changed is not written. First it is checked as the gateway checks it,
and at the end it is read back. While AWS is waited for, everybody can go on
revoking and issuing; only another publish waits.

The CA's key is not published, and no passphrase is needed. AWS credentials and
region are found where the AWS command line finds them. They need, on PREFIX/*:
secretsmanager:GetSecretValue, DescribeSecret, CreateSecret, PutSecretValue; with
--tag TagResource, with --kms-key UpdateSecret, and use of that KMS key.

A secret holds 64 KiB; revocations and roster are compressed and take as many as
they need. A gateway takes 256 of them, and 32 MiB unpacked, which come first: some
140,000 people.`,
		Example: `  vpnami-pki publish --folder office --secret vpn/office
  vpnami-pki publish --folder office --secret vpn/office --dry-run
  vpnami-pki publish --folder office --secret vpn/office --kms-key alias/vpn`,
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if order.prefix == "" {
				return usage(cmd, "--secret is needed: the beginning of the secrets' names, such as \"vpn/office\"")
			}
			if err := bundle.CheckPrefix(order.prefix); err != nil {
				return usage(cmd, "--secret: %w", err)
			}
			var err error
			if order.dressing.tags, err = parseTags(tags); err != nil {
				return usage(cmd, "--tag: %w", err)
			}
			folder, err := d.open(cmd)
			if err != nil {
				return err
			}
			return d.publish(cmd.Context(), folder, order)
		},
	}
	cmd.Flags().StringVar(&order.prefix, "secret", "", "beginning of the secrets' names, such as vpn/office")
	cmd.Flags().StringVar(&order.region, "region", "", "AWS region (default: as the AWS command line)")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "tag that the secrets are to have, KEY=VALUE; may be repeated")
	cmd.Flags().StringVar(&order.dressing.kmsKey, "kms-key", "", "KMS key under which AWS encrypts the secrets: ARN, alias or id (default: as they are; aws/secretsmanager for new ones)")
	cmd.Flags().BoolVar(&order.dryRun, "dry-run", false, "show what would change and write nothing")
	cmd.Flags().BoolVar(&order.replace, "replace", false, "take the place of another authority's secrets, or of a newer copy's")
	d.folderFlag(cmd)
	return cmd
}

type publishOrder struct {
	prefix   string
	region   string
	dryRun   bool
	replace  bool
	dressing dressing
}

// publishWait bounds a publish: ten shards take seconds, the rest is for the
// SDK's retries.
const publishWait = 2 * time.Minute

func (d *desk) publish(ctx context.Context, folder authority.Folder, order publishOrder) (err error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	// What is likeliest wrong here is told before AWS is asked.
	if _, err := folder.CRLs(d.now()); err != nil {
		return err
	}
	if !order.dryRun {
		release, err := folder.LockPublish(ctx, publishWait, d.sayWaits)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	v, region, err := openVault(ctx, order.region)
	if err != nil {
		return err
	}
	v.waits = func(doing, id string) { d.warn("%s secret %q: AWS has not answered yet", doing, id) }
	there, err := readRemote(ctx, v, order.prefix)
	if err != nil {
		return err
	}
	return d.publishOver(ctx, folder, v, there, authority.Place{Region: region, Prefix: order.prefix}, order)
}

func (d *desk) sayWaits(other authority.Holder) {
	who := "" // Windows lets nobody read in a file that is locked
	if text := other.String(); text != "" {
		who = ": " + text
	}
	d.say("waiting for another publish to end, %s at most%s", publishWait, who)
}

// locked does something that takes no longer than the folder's files: who waits for AWS
// keeps nobody from revoking.
func locked(ctx context.Context, folder authority.Folder, do func(authority.Folder) error) error {
	current, release, err := folder.Lock(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(current), release())
}

// offer is what there is to publish at a place, as the folder had it at one moment.
type offer struct {
	folder   authority.Folder
	people   []authority.Person
	standing authority.Standing
	server   bundle.Server
	access   bundle.Access
	past     authority.Past
	last     authority.Publish // at the place
}

// Format keeps the keys out of whatever is printed.
func (o offer) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "offer of %q", o.folder.Name())
}

// LogValue is as [offer.Format].
func (o offer) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(o)) }

func readOffer(folder authority.Folder, place authority.Place, now time.Time) (offer, error) {
	o := offer{folder: folder}
	var err error
	if o.people, err = folder.People(); err != nil {
		return offer{}, err
	}
	if o.standing, err = folder.Standing(now); err != nil {
		return offer{}, err
	}
	if o.server, o.access, err = contents(folder, o.people, o.standing, now); err != nil {
		return offer{}, err
	}
	if o.past, err = folder.Past(); err != nil {
		return offer{}, err
	}
	o.past = o.past.Issued(o.people)
	published, err := folder.Published()
	o.last = published[place]
	return o, err
}

// over makes the publish of an offer over what is there, and refuses one that would
// undo what it does not know.
func (o offer) over(ctx context.Context, v vault, there remote, order publishOrder, now time.Time) (publication, error) {
	if err := checkClock(there, now); err != nil {
		return publication{}, err
	}
	if err := checkRevoked(o.server, o.past, order.prefix, there); err != nil {
		return publication{}, err
	}
	if err := checkNumbers(o.server, o.access, order.prefix, there); err != nil {
		return publication{}, err
	}
	unknown := there.unknownTo(order.prefix, o.last)
	// Who says --replace has been told what that may do.
	refused := func(err error) error {
		if err == nil || unknown == nil {
			return err
		}
		return fmt.Errorf("%w; before that: %w", err, unknown)
	}
	if !order.replace {
		if err := refused(checkReplace(o.server, o.past, order.prefix, there)); err != nil {
			return publication{}, err
		}
	}
	p, err := plan(o.server, o.access, order.prefix, there, o.last.Generation, now)
	if err != nil {
		return publication{}, err
	}
	p.unknown = unknown
	if err := p.compare(ctx, v, there); err != nil {
		return publication{}, err
	}
	if !order.replace {
		if err := refused(p.checkCopy(there, o.past, o.last)); err != nil {
			return publication{}, err
		}
		if err := refused(checkForgotten(o.past, order.prefix, there)); err != nil {
			return publication{}, err
		}
	}
	return p, p.dress(ctx, v, order.dressing)
}

func (d *desk) publishOver(ctx context.Context, folder authority.Folder, v vault, there remote, place authority.Place, order publishOrder) error {
	now := d.now()
	var o offer
	err := locked(ctx, folder, func(current authority.Folder) (err error) {
		o, err = readOffer(current, place, now)
		return err
	})
	if err != nil {
		return err
	}
	p, err := o.over(ctx, v, there, order, now)
	if err != nil {
		return err
	}
	if o.folder.Migrating() {
		d.warn("the window for old profiles is open, and the gateway without tls-crypt-v2; \"migration status\" tells who needs it, \"migration close\" ends it")
	}
	if p.unknown != nil {
		d.warn("%v", p.unknown)
	}
	for _, w := range p.warnings {
		d.warn("%s", w)
	}
	if names := whose(o.standing, o.people, early); len(names) > 0 {
		d.warn("%s cannot connect yet: made while this machine's clock was ahead, their certificates begin later (\"vpnami-pki check\"): renew them", some(names))
	}
	// A generation is kept before it is put.
	reserve := func(head bundle.Head) error {
		return locked(ctx, o.folder, func(current authority.Folder) error {
			return current.RecordPublish(now, place, p.generation, contentOf(head))
		})
	}
	if len(p.changes)+len(p.redressings) == 0 {
		d.say("%q in %s has it all already: generation %d, %s", order.prefix, place.Region, p.generation, plural(len(o.access.Roster), "person", "people"))
		if order.dryRun {
			return nil
		}
		if o.last.Generation == 0 { // published.json was lost
			if err := reserve(there.headed); err != nil {
				return err
			}
		}
		d.told(ctx, o, place)
		return nil
	}
	d.say("%q in %s, generation %d, %s:", order.prefix, place.Region, p.generation, plural(len(o.access.Roster), "person", "people"))
	for _, line := range p.lines {
		d.say("  %s", line)
	}
	for _, r := range p.redressings {
		d.say("  %s", r)
	}
	d.say("  revocations and roster take %s, %s of what a gateway takes", plural(len(p.sealed.Shards), "secret", "secrets"), percent(p.sealed.Share()))
	if order.dryRun {
		for _, c := range p.changes {
			d.say("would write %s (%d bytes)", c.id, c.size)
		}
		return nil
	}
	head, err := bundle.OpenHead(p.sealed.Head)
	if err != nil {
		return err
	}
	if err := reserve(head); err != nil {
		return err
	}
	if err := p.write(ctx, v, func(c change) { d.say("wrote %s (%d bytes)", c.id, c.size) }); err != nil {
		return err
	}
	if err := p.verify(ctx, v, now); err != nil {
		return err
	}
	if unused := p.unused(there); len(unused) > 0 {
		d.say("no longer used, once every gateway has taken this publish: %s; they stay, and the next publish that needs them writes them anew", strings.Join(unused, ", "))
	}
	// The launch says which network it has, and nobody here knows that.
	network := ""
	if slices.ContainsFunc(o.access.Roster, func(p bundle.Person) bool { return p.Address.IsValid() }) {
		network = fmt.Sprintf(" if its network is %s, in which people have addresses", planOf(o.folder).Network)
	}
	d.say("read back and checked: a gateway launched with secret %q takes it%s", order.prefix, network)
	if there.empty() {
		d.say("nothing was there before: it is for gateways that are launched with this name, in %s", place.Region)
	}
	d.told(ctx, o, place)
	return nil
}

// told keeps what the gateways of a place are told now, and says which others are not.
// What was to be published is there by then.
func (d *desk) told(ctx context.Context, o offer, place authority.Place) {
	told := toldBy(o.server, o.access)
	var published map[authority.Place]authority.Publish
	err := locked(ctx, o.folder, func(current authority.Folder) (err error) {
		if err = current.RecordTold(place, told); err == nil {
			published, err = current.Published()
		}
		return err
	})
	if err != nil {
		d.warn("%v", err)
		return
	}
	others := slices.DeleteFunc(slices.Collect(maps.Keys(published)), func(p authority.Place) bool { return published[p].Told == told })
	slices.SortFunc(others, comparePlaces)
	for _, other := range others {
		d.warn("what was published as %q in %s says something else still: \"vpnami-pki publish --folder %s --secret %s --region %s\" tells the gateways there; if there are none any more, take it out of published.json", other.Prefix, other.Region, shellWord(o.folder.Path()), shellWord(other.Prefix), shellWord(other.Region))
	}
}

// toldBy is a hash of what a publish tells the gateways, whatever its generation.
func toldBy(server bundle.Server, access bundle.Access) string {
	sum := sha256.New()
	for _, c := range append([]*x509.Certificate{server.Certificate, server.Probe.Certificate}, server.CA...) {
		_, _ = sum.Write(c.Raw)
	}
	_, _ = fmt.Fprintln(sum, server.Wrapping, access.Revoked())
	for _, p := range access.Roster {
		_, _ = fmt.Fprintf(sum, "%q %q %s %q %q %s\n", p.Name, p.CommonName, p.Address, p.Groups, p.Note, p.Serials)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
