// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

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

// publication is a publish that is ready to be written.
type publication struct {
	prefix     string
	head       bundle.Secret // as it was there
	generation uint64
	sealed     bundle.Sealed
	changes    []change // in the order of writing, the head last
	arns       []string // of the shards, as far as they are known
	warnings   []bundle.Warning
	lines      []string // what changes, in words
	removed    []string // people who are let in now and would not be
	unknown    error    // of what was put there; nil, if all of it is known

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
	p := publication{prefix: prefix, head: there.head.value, generation: base + 1}

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
		return publication{}, fmt.Errorf("the gateway would refuse this: %w (\"vpnami-pki check\" says what has ended, and what to do)", err)
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

// alone refuses to write over what another copy of the folder has published since the
// secrets were read. AWS has no write that depends on what is there: what is put just
// then is known by the value before it, which [readRemote] looks at.
func (p *publication) alone(ctx context.Context, v vault) error {
	now, err := v.get(ctx, bundle.AccessID(p.prefix))
	if err == nil && !now.holds(p.head.Reveal()) {
		err = fmt.Errorf("publishing under %q: another has published there meanwhile, maybe from a copy of this folder: publish again", p.prefix)
	}
	return err
}

// write puts the changes in order: server, shards, and the head last, which
// alone makes the rest count. What it makes has an ARN only then; the head is
// completed with those.
func (p *publication) write(ctx context.Context, v vault, progress func(change)) error {
	for _, r := range p.redressings {
		if err := p.alone(ctx, v); err != nil {
			return err
		}
		if err := v.redress(ctx, r); err != nil {
			return err
		}
	}
	brokeOff := func(written int, err error) error {
		if written == 0 {
			return err
		}
		return fmt.Errorf("%w; %d of %s were written: running gateways keep what they have, publish again", err, written, plural(len(p.changes), "secret", "secrets"))
	}
	for i, c := range p.changes {
		if err := p.alone(ctx, v); err != nil {
			return brokeOff(i, err)
		}
		if c.id == bundle.AccessID(p.prefix) {
			var err error
			if p.sealed, err = p.sealed.WithShards(p.arns); err != nil {
				return err
			}
			c.data, c.size = bundle.NewSecret(p.sealed.Head), len(p.sealed.Head)
		}
		arn, err := v.put(ctx, c, p.dressing)
		if err != nil {
			return brokeOff(i, err)
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
