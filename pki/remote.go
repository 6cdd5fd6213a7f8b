// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

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
	// access is what was published whole last. Where another publish has written over a
	// part of it and broke off, accessErr says so, and access is what the head names all
	// the same: empty, if that is not to be had any more, and lostErr says why.
	access    bundle.Access
	accessErr error
	lostErr   error
	// guessed is what the shards that are there have, where that is not what the head
	// names; strayErr says that they have something, and what is not known.
	guessed  bundle.Access
	strayErr error
}

// lists are the CRLs that are there, or were before a publish broke off.
func (r remote) lists() []*x509.RevocationList { return append(r.access.CRLs(), r.guessed.CRLs()...) }

// roster is who is let in by them.
func (r remote) roster() []bundle.Person {
	return append(r.access.Roster[:len(r.access.Roster):len(r.access.Roster)], r.guessed.Roster...)
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
	if r.accessErr == nil || r.empty() {
		return r, nil
	}
	// What was revoked by either is to stay so.
	if r.headedErr == nil {
		if r.access, r.lostErr, err = overwritten(ctx, v, prefix, r.headed, values); err != nil {
			return remote{}, err
		}
	}
	r.guessed, r.strayErr, err = guess(ctx, v, prefix, r.headed)
	return r, err
}

// overwritten reads what a head names where another publish, which broke off, has
// written over shards of it: AWS keeps of each secret the value before. Lost is why it is
// not to be had.
func overwritten(ctx context.Context, v vault, prefix string, head bundle.Head, values [][]byte) (access bundle.Access, lost, err error) {
	for i, shard := range head.Shards {
		if shard.Holds(values[i]) {
			continue
		}
		id := bundle.ShardID(prefix, i)
		before, denied, err := v.before(ctx, id)
		if err != nil {
			return bundle.Access{}, nil, err
		}
		if denied != nil {
			return bundle.Access{}, denied, nil
		}
		if !shard.Holds(before.Reveal()) {
			return bundle.Access{}, fmt.Errorf("secret %q does not have it, nor had it before", id), nil
		}
		values[i] = before.Reveal()
	}
	access, lost = bundle.OpenAccess(head, values)
	return access, lost, nil
}

// guess reads the shards that are there whatever the head names: it is gone, or is that
// of before a publish which broke off. Stray is what of them is not known.
func guess(ctx context.Context, v vault, prefix string, named bundle.Head) (access bundle.Access, stray, err error) {
	var head bundle.Head
	var values [][]byte
	for i := range bundle.MaxShards {
		id := bundle.ShardID(prefix, i)
		shard, err := v.get(ctx, id)
		if err != nil {
			return bundle.Access{}, nil, err
		}
		if shard.value.IsZero() {
			break
		}
		value := shard.value.Reveal()
		if stray == nil && (i >= len(named.Shards) || !named.Shards[i].Holds(value)) {
			stray = fmt.Errorf("secret %q has what alone cannot be read, as of a publish that broke off", id)
		}
		values = append(values, value)
		head.Shards = append(head.Shards, bundle.ShardOf(id, value))
		// What follows may be of an older publish, which took more.
		if access, err := bundle.OpenAccess(head, values); err == nil {
			return access, nil, nil
		}
	}
	return bundle.Access{}, stray, nil
}
