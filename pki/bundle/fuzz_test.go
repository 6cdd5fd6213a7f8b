// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle_test

import (
	"bytes"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

func FuzzOpenServer(f *testing.F) {
	a := bundletest.New(f, now)
	sealed := a.Seal(a.Server(), bundle.Access{CRL: a.CRL(1)})
	f.Add(sealed.Server)
	f.Add([]byte("{\"schema\":1,\"generation\":1,\"ca\":null}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		server, err := bundle.OpenServer(raw)
		if err != nil {
			return
		}
		if server.Certificate == nil || len(server.CA) == 0 || server.Key.IsZero() || server.Probe.TLSCryptV2.IsZero() {
			t.Fatalf("opened with something missing: %v", server)
		}
		if again, err := bundle.OpenServer(raw); err != nil || !bytes.Equal(again.Key.Reveal(), server.Key.Reveal()) {
			t.Fatalf("opened differently the second time: %v", err)
		}
	})
}

func FuzzOpenHead(f *testing.F) {
	a := bundletest.New(f, now)
	f.Add(a.Seal(a.Server(), bundle.Access{CRL: a.CRL(1)}).Head)
	f.Add([]byte("{\"schema\":1,\"generation\":1,\"server_sha256\":\"\",\"shards\":[{}]}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		head, err := bundle.OpenHead(raw)
		if err != nil {
			return
		}
		if head.Generation == 0 || len(head.ServerSHA256) != 64 || len(head.Shards) == 0 || len(head.Shards) > bundle.MaxShards {
			t.Fatalf("opened out of bounds: %+v", head)
		}
	})
}

func FuzzOpenAccess(f *testing.F) {
	a := bundletest.New(f, now)
	server := a.Server()
	f.Add(unzip(f, a.Seal(server, bundle.Access{CRL: a.CRL(1), Roster: everybody}).Shards[0]))
	f.Add([]byte("{\"crl\":\"AAAA\",\"roster\":[]}"))
	f.Fuzz(func(t *testing.T, plain []byte) {
		shard := zip(t, plain)
		access, err := bundle.OpenAccess(bundle.Head{Shards: []bundle.Shard{{ID: "x", SHA256: sum(shard), Bytes: len(shard)}}}, [][]byte{shard})
		if err != nil {
			return
		}
		// What opens can be sealed, and means the same.
		sealed, err := bundle.Seal(server, access, "vpn", 1)
		if err != nil {
			t.Fatal(err)
		}
		head, err := bundle.OpenHead(sealed.Head)
		if err != nil {
			t.Fatal(err)
		}
		again, err := bundle.OpenAccess(head, sealed.Shards)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.CRL.Raw, access.CRL.Raw) || len(again.Roster) != len(access.Roster) {
			t.Fatal("sealing changed it")
		}
	})
}

// FuzzOpenAccessPacked gives raw shards: gzip is outside data too.
func FuzzOpenAccessPacked(f *testing.F) {
	a := bundletest.New(f, now)
	f.Add(a.Seal(a.Server(), bundle.Access{CRL: a.CRL(1), Roster: everybody}).Shards[0])
	f.Fuzz(func(t *testing.T, shard []byte) {
		_, _ = bundle.OpenAccess(bundle.Head{Shards: []bundle.Shard{{ID: "x", SHA256: sum(shard), Bytes: len(shard)}}}, [][]byte{shard})
	})
}
