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
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// isMarkedDeleted looks at the words: AWS has no error of its own for it.
func isMarkedDeleted(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "marked for deletion") || strings.Contains(text, "marked deleted") || strings.Contains(text, "scheduled for deletion")
}

// change is one secret to be written.
type change struct {
	id     string
	what   string
	data   bundle.Secret
	size   int
	binary bool
	exists bool
}

// remote is what is in Secrets Manager now.
type remote struct {
	server stored
	head   stored
	shards []stored // at least those that the head names

	// What could be understood of it; the errors say why the rest could not.
	opened    bundle.Server
	openedErr error
	headed    bundle.Head
	headedErr error
	access    bundle.Access
	accessErr error
}

// empty tells that nothing was ever published there.
func (r remote) empty() bool { return r.server.value.IsZero() && r.head.value.IsZero() }

// arns is how the shards are found from everywhere.
func (r remote) arns() []string {
	var ids []string
	for _, shard := range r.shards {
		ids = append(ids, shard.arn)
	}
	return ids
}

// generation is the highest one seen.
func (r remote) generation() uint64 { return max(r.opened.Generation, r.headed.Generation) }

// readRemote reads the secrets under a prefix.
func readRemote(ctx context.Context, v vault, prefix string) (remote, error) {
	var r remote
	var err error
	if r.server, err = v.get(ctx, bundle.ServerID(prefix)); err != nil {
		return remote{}, err
	}
	if r.head, err = v.get(ctx, bundle.AccessID(prefix)); err != nil {
		return remote{}, err
	}
	r.opened, r.openedErr = bundle.OpenServer(r.server.value.Reveal())
	r.headed, r.headedErr = bundle.OpenHead(r.head.value.Reveal())
	var values [][]byte
	for i := range r.headed.Shards {
		shard, err := v.get(ctx, bundle.ShardID(prefix, i))
		if err != nil {
			return remote{}, err
		}
		r.shards = append(r.shards, shard)
		values = append(values, shard.value.Reveal())
	}
	if r.accessErr = r.headedErr; r.accessErr == nil {
		r.access, r.accessErr = bundle.OpenAccess(r.headed, values)
	}
	return r, nil
}

// publication is a publish that is ready to be written.
type publication struct {
	prefix     string
	generation uint64
	sealed     bundle.Sealed
	changes    []change // in the order of writing, the head last
	arns       []string // of the shards, as far as they are known
	warnings   []bundle.Warning
	lines      []string // what changes, in words
	removed    []string // people who are let in now and would not be

	dressing    dressing     // of secrets that are made
	redressings []redressing // of secrets that are there
}

// Format keeps the keys out of whatever is printed.
func (p publication) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "publication %q, generation %d", p.prefix, p.generation)
}

// LogValue is as [publication.Format].
func (p publication) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(p)) }

// plan makes the publish. It is pure: everything is read before, everything is
// written after.
func plan(server bundle.Server, access bundle.Access, prefix string, there remote, lastGeneration uint64, now time.Time) (publication, error) {
	base := max(lastGeneration, there.generation())
	p := publication{prefix: prefix, generation: base + 1}

	// The server secret keeps its generation when nothing else in it changes.
	server.Generation = p.generation
	if there.openedErr == nil && there.opened.Generation <= base {
		kept := server
		kept.Generation = there.opened.Generation
		if sealed, err := bundle.Seal(kept, access, prefix, max(base, 1)); err == nil && there.server.holds(sealed.Server) {
			server = kept
		}
	}
	// The whole may be what is there already.
	if there.headedErr == nil && there.headed.Generation >= server.Generation {
		sealed, err := sealFor(server, access, prefix, there.headed.Generation, there.arns())
		if err != nil {
			return publication{}, err
		}
		if there.server.holds(sealed.Server) && there.head.holds(sealed.Head) && there.accessErr == nil {
			p.generation = there.headed.Generation
		}
	}
	var err error
	p.arns = there.arns()
	if p.sealed, err = sealFor(server, access, prefix, p.generation, p.arns); err != nil {
		return publication{}, err
	}
	// The very same validation as the gateway's.
	if _, p.warnings, err = bundle.Open(p.sealed.Server, p.sealed.Head, p.sealed.Shards, now); err != nil {
		return publication{}, fmt.Errorf("the gateway would refuse this: %w", err)
	}
	p.lines, p.removed = describe(server, access, there)
	return p, nil
}

// sealFor names the shards by the ARNs that are known: a gateway in another
// account would look for a plain name in its own.
func sealFor(server bundle.Server, access bundle.Access, prefix string, generation uint64, arns []string) (bundle.Sealed, error) {
	sealed, err := bundle.Seal(server, access, prefix, generation)
	if err != nil {
		return bundle.Sealed{}, err
	}
	return sealed.WithShards(arns)
}

// compare finds what is to be written. It also looks at the secrets of shards
// that the head of now does not name: whatever would fail is found before the
// first write.
func (p *publication) compare(ctx context.Context, v vault, there remote) error {
	for i := len(there.shards); i < len(p.sealed.Shards); i++ {
		shard, err := v.get(ctx, bundle.ShardID(p.prefix, i))
		if err != nil {
			return err
		}
		there.shards = append(there.shards, shard)
	}
	p.arns = there.arns()
	var err error
	if p.sealed, err = p.sealed.WithShards(p.arns); err != nil {
		return err
	}
	p.changes = differing(p.sealed, p.prefix, there)
	return nil
}

func differing(sealed bundle.Sealed, prefix string, there remote) []change {
	var changes []change
	add := func(c change, data []byte, now stored) {
		if !now.holds(data) {
			c.data, c.size, c.exists = bundle.NewSecret(data), len(data), now.exists
			changes = append(changes, c)
		}
	}
	add(change{id: bundle.ServerID(prefix), what: "the gateway's certificate and keys"}, sealed.Server, there.server)
	for i, data := range sealed.Shards {
		var now stored
		if i < len(there.shards) {
			now = there.shards[i]
		}
		add(change{id: bundle.ShardID(prefix, i), what: "revocations and roster", binary: true}, data, now)
	}
	add(change{id: bundle.AccessID(prefix), what: "what belongs together"}, sealed.Head, there.head)
	return changes
}

// mostOff is how far the clock may be off: certificates end by the day.
const mostOff = 24 * time.Hour

// checkClock refuses a clock that AWS's contradicts: who comes in is decided by it,
// and one that is ahead would take out whose certificates seem to have ended.
func checkClock(there remote, now time.Time) error {
	asked := there.server.asked
	if off := now.Sub(asked); asked.IsZero() || off.Abs() <= mostOff {
		return nil
	}
	return fmt.Errorf("looking at the clock: this machine says %s, AWS says %s: set it right, and publish then", now.UTC().Format(time.DateTime), asked.UTC().Format(time.DateTime))
}

// checkReplace refuses a publish that would take away what is there: another
// authority's values, or those of a newer copy of the folder.
func checkReplace(server bundle.Server, access bundle.Access, past authority.Past, prefix string, there remote) error {
	const replace = "; if that is meant, say --replace"
	if there.empty() {
		return nil
	}
	if there.openedErr != nil {
		if there.server.value.IsZero() {
			return nil // a publish broke off before its first secret
		}
		return fmt.Errorf("publishing under %q: what is there now is none of vpnami's (%w)"+replace, prefix, there.openedErr)
	}
	shared := slices.ContainsFunc(there.opened.CA, func(ca *x509.Certificate) bool { return slices.ContainsFunc(server.CA, ca.Equal) })
	if !shared {
		return fmt.Errorf("publishing under %q: the authority %q is there now, with another CA: everybody who connects today would be locked out"+replace, prefix, there.opened.Authority)
	}
	for _, ca := range there.opened.CA {
		if !past.Had(ca) {
			return fmt.Errorf("publishing under %q: a CA is there that this folder does not have (%q, until %s): this folder is an old copy, from before a roll-over, and would lock out who has a certificate of it: publish from the newer one"+replace,
				prefix, ca.Subject.CommonName, day(ca.NotAfter))
		}
	}
	if there.accessErr != nil {
		return nil //nolint:nilerr // a publish broke off, or is being repaired by this one
	}
	for _, before := range there.access.CRLs() {
		if !slices.ContainsFunc(past.CAs, func(ca *x509.Certificate) bool { return before.CheckSignatureFrom(ca) == nil }) {
			continue
		}
		for _, entry := range before.RevokedCertificateEntries {
			if !past.TookBack(entry.SerialNumber) {
				return fmt.Errorf("publishing under %q: the certificate %s is revoked there and not in this folder: this folder is an old copy, or lost what was revoked, and would let in whose it is: publish from the newer one, or revoke it here as well"+replace, prefix, entry.SerialNumber)
			}
		}
	}
	for _, before := range there.access.CRLs() {
		for i, ours := range access.CRLs() {
			// A list of another CA says nothing of this one's.
			if before.CheckSignatureFrom(server.CA[i]) == nil && before.Number.Cmp(ours.Number) > 0 {
				return fmt.Errorf("publishing under %q: the CRL there has number %s, this folder's has %s: this folder is an old copy, and would let in who was revoked since"+replace, prefix, before.Number, ours.Number)
			}
		}
	}
	return nil
}

// checkCopy refuses a publish over that of another copy of the folder. The number
// of the CRL does not tell those who were added since, nor does the generation:
// that of this folder's last publishes may be higher, where they broke off, or went
// to another account.
func (p publication) checkCopy(there remote, last authority.Publish) error {
	ours := there.generation() <= last.Generation // all there is to go by, if the head cannot be read
	if there.headedErr == nil {
		ours = slices.Contains(last.Contents, contentOf(there.headed))
	}
	if len(p.changes) == 0 || ours {
		return nil
	}
	loses := "would undo what it changed"
	switch {
	case len(p.removed) > 0:
		loses = "would remove " + some(p.removed)
	case there.accessErr != nil:
		loses = "might remove people (what is there cannot be read)"
	}
	return fmt.Errorf("publishing under %q: generation %d is there, and this folder did not publish it (its last is %d): another copy of it has published since, and this one %s: publish from that copy; if this one is meant, say --replace",
		p.prefix, there.generation(), last.Generation, loses)
}

// contentOf is the hash of what a head names, however its secrets are called.
func contentOf(head bundle.Head) string {
	sum := sha256.New()
	fmt.Fprintln(sum, head.ServerSHA256)
	for _, shard := range head.Shards {
		fmt.Fprintln(sum, shard.SHA256)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// describe says in words what the publish changes, and whom it removes.
func describe(server bundle.Server, access bundle.Access, there remote) (lines, removed []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	lines = describeServer(server, there)
	if there.accessErr != nil && !there.empty() {
		say("repair   what is there is not whole (%v): it is written anew", there.accessErr)
		return lines, nil
	}
	before := map[string]bundle.Person{}
	for _, p := range there.access.Roster {
		before[p.Name] = p
	}
	var added, changed []string
	for _, p := range access.Roster {
		old, known := before[p.Name]
		switch {
		case !known:
			added = append(added, p.Name)
		case !samePerson(old, p):
			changed = append(changed, p.Name)
		}
		delete(before, p.Name)
	}
	for name := range before {
		removed = append(removed, name)
	}
	slices.Sort(removed)
	for _, group := range []struct {
		what  string
		names []string
	}{{"added  ", added}, {"changed", changed}, {"removed", removed}} {
		if len(group.names) > 0 {
			say("%s  %s", group.what, some(group.names))
		}
	}
	list := access.CRL
	if now, old := len(access.Revoked()), len(there.access.Revoked()); now != old {
		say("revoked  %s, %d before", plural(now, "certificate", "certificates"), old)
	}
	if there.access.CRL != nil && there.access.CRL.Number.Cmp(list.Number) != 0 {
		say("CRL      number %s, until %s", list.Number, day(list.NextUpdate))
	}
	return lines, removed
}

// describeServer says in words what changes of the gateway's own.
func describeServer(server bundle.Server, there remote) []string {
	named := fmt.Sprintf("%s, until %s", server.Certificate.Subject.CommonName, day(server.Certificate.NotAfter))
	if there.openedErr != nil {
		return []string{"server   " + named}
	}
	var lines []string
	if !there.opened.Certificate.Equal(server.Certificate) {
		lines = append(lines, "server   a new certificate: "+named)
	}
	switch {
	case server.Wrapping == there.opened.Wrapping:
	case server.Wrapping == bundle.NoWrapping:
		lines = append(lines, "server   the window for old profiles opens: without tls-crypt-v2, which profiles made before it have")
	default:
		lines = append(lines, "server   the window for old profiles closes: with tls-crypt-v2 again")
	}
	added, gone := lacking(server.CA, there.opened.CA), lacking(there.opened.CA, server.CA)
	for _, ca := range added {
		lines = append(lines, fmt.Sprintf("server   one more CA: %s, until %s", ca.Subject.CommonName, day(ca.NotAfter)))
	}
	for _, ca := range gone {
		lines = append(lines, fmt.Sprintf("server   no longer the CA %s, until %s: its certificates connect no more", ca.Subject.CommonName, day(ca.NotAfter)))
	}
	if len(lines) == 0 && server.Generation != there.opened.Generation {
		lines = append(lines, "server   other keys")
	}
	return lines
}

// lacking are those of some certificates that others have not.
func lacking(some, others []*x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(some), func(c *x509.Certificate) bool { return slices.ContainsFunc(others, c.Equal) })
}

func samePerson(a, b bundle.Person) bool {
	return a.Address == b.Address && a.CommonName == b.CommonName && a.Note == b.Note && slices.Equal(a.Groups, b.Groups) &&
		slices.EqualFunc(a.Serials, b.Serials, func(x, y *big.Int) bool { return x.Cmp(y) == 0 })
}

// write puts the changes in order: server, shards, and the head last, which
// alone makes the rest count. What it makes has an ARN only then; the head is
// completed with those.
func (p *publication) write(ctx context.Context, v vault, progress func(change)) error {
	for _, r := range p.redressings {
		if err := v.redress(ctx, r); err != nil {
			return err
		}
	}
	for i, c := range p.changes {
		if c.id == bundle.AccessID(p.prefix) {
			var err error
			if p.sealed, err = p.sealed.WithShards(p.arns); err != nil {
				return err
			}
			c.data, c.size = bundle.NewSecret(p.sealed.Head), len(p.sealed.Head)
		}
		arn, err := v.put(ctx, c, p.dressing)
		if err != nil {
			if i > 0 {
				return fmt.Errorf("%w; %d of %s were written: running gateways keep what they have, publish again", err, i, plural(len(p.changes), "secret", "secrets"))
			}
			return err
		}
		for n := range p.sealed.Shards {
			if c.id == bundle.ShardID(p.prefix, n) {
				p.arns[n] = arn
			}
		}
		progress(c)
	}
	return nil
}

// verify reads everything back and opens it as the gateway will.
func (p publication) verify(ctx context.Context, v vault, now time.Time) error {
	there, err := readRemote(ctx, v, p.prefix)
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	if other := differing(p.sealed, p.prefix, there); len(other) > 0 {
		return fmt.Errorf("reading back secret %q: it is not what was written: is somebody else publishing? publish again", other[0].id)
	}
	var shards [][]byte
	for _, shard := range there.headed.Shards { // by the ids of the head, as the gateway does
		found, err := v.get(ctx, shard.ID)
		if err != nil {
			return fmt.Errorf("reading back: %w", err)
		}
		shards = append(shards, found.value.Reveal())
	}
	if _, _, err := bundle.Open(there.server.value.Reveal(), there.head.value.Reveal(), shards, now); err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	return errors.Join(there.openedErr, there.headedErr, there.accessErr)
}
