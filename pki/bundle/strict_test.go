// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

// TestFieldsAreStrict takes each field of each document away, gives it each
// wrong type, and adds an unknown one beside it.
func TestFieldsAreStrict(t *testing.T) {
	a := bundletest.New(t, now)
	sealed := a.Seal(a.Server(), bundle.Access{CRL: a.CRL(1), Roster: everybody})
	document := unzip(t, sealed.Shards[0])
	openShards := func(plain []byte) error {
		shard := zip(t, plain)
		_, err := bundle.OpenAccess(bundle.Head{Shards: []bundle.Shard{{ID: "x", SHA256: sum(shard), Bytes: len(shard)}}}, [][]byte{shard})
		return err
	}
	optional := map[string]bool{"roster[0].serials": true, "roster[0].address": true, "roster[0].groups": true, "roster[0].note": true}
	for name, c := range map[string]struct {
		raw  []byte
		open func([]byte) error
	}{
		"server": {sealed.Server, func(b []byte) error { _, err := bundle.OpenServer(b); return err }},
		"head":   {sealed.Head, func(b []byte) error { _, err := bundle.OpenHead(b); return err }},
		"access": {document, openShards},
	} {
		var tree map[string]any
		if err := json.Unmarshal(c.raw, &tree); err != nil {
			t.Fatal(err)
		}
		if err := c.open(c.raw); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		refused := func(what, field string, changed []byte) {
			t.Helper()
			err := c.open(changed)
			found, ok := errors.AsType[*bundle.FieldError](err)
			if !ok || found.Field != field || found.Allowed == "" {
				t.Errorf("%s: %s %s: error %v", name, field, what, err)
			}
		}
		tries := 0
		each(tree, "", func(holder map[string]any, key, path string) {
			tries++
			kept := holder[key]
			for _, wrong := range []any{nil, true, 1.5, -1, "", "x", "\u0000", []any{}, []any{1}, map[string]any{"x": 1}} {
				if same(wrong, kept) || path == "authority" && wrong == "x" || path == "roster[0].note" && wrong == "x" || path == "roster[0].name" && wrong == "x" || path == "roster[1].name" && wrong == "x" || path == "shards[0].id" && wrong == "x" || optional[path] && same(wrong, []any{}) || path == "roster" && same(wrong, []any{}) {
					continue // allowed
				}
				holder[key] = wrong
				err := c.open(encoded(t, tree))
				found, ok := errors.AsType[*bundle.FieldError](err)
				if !ok || !strings.HasPrefix(found.Field, path) || found.Allowed == "" {
					t.Errorf("%s: %s = %v: error %v", name, path, wrong, err)
				}
			}
			delete(holder, key)
			if !optional[path] {
				refused("missing", path, encoded(t, tree))
			}
			holder[key] = kept
			upper := strings.ToUpper(key)
			holder[upper] = kept
			refused("in capitals beside it", strings.TrimSuffix(path, key)+upper, encoded(t, tree))
			delete(holder, upper)
		})
		if tries < 4 {
			t.Errorf("%s: only %d fields were tried", name, tries)
		}
		twice := append([]byte("{"), c.raw[1:]...)
		first := strings.SplitN(string(c.raw[1:]), ",\"", 2)[0]
		twice = append([]byte("{"+first+","), twice[1:]...)
		if err := c.open(twice); err == nil || !strings.Contains(err.Error(), "is there twice") {
			t.Errorf("%s: a field twice: %v", name, err)
		}
		for what, changed := range map[string]string{
			"trailing document": string(c.raw) + "{}",
			"trailing word":     string(c.raw) + " x",
			"cut":               string(c.raw[:len(c.raw)/2]),
			"empty":             "",
			"a list":            "[]",
			"not UTF-8":         strings.Replace(string(c.raw), "\"", "\"\xff", 1),
		} {
			if err := c.open([]byte(changed)); err == nil {
				t.Errorf("%s: %s passes", name, what)
			}
		}
	}
}

func TestNumbersAreExact(t *testing.T) {
	a := bundletest.New(t, now)
	sealed := a.Seal(a.Server(), bundle.Access{CRL: a.CRL(1)})
	for _, wrong := range []string{"0", "1.0", "1e0", "18446744073709551616", "-1", "\"1\""} {
		changed := strings.Replace(string(sealed.Head), "\"generation\":1", "\"generation\":"+wrong, 1)
		if _, err := bundle.OpenHead([]byte(changed)); err == nil || !strings.Contains(err.Error(), "\"generation\"") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	changed := strings.Replace(string(sealed.Server), "\"schema\":1", "\"schema\":2", 1)
	if _, err := bundle.OpenServer([]byte(changed)); err == nil || !strings.Contains(err.Error(), "field \"schema\" is 2; it must be the number 1") {
		t.Error(err)
	}
}

func same(a, b any) bool { return cmp.Equal(a, b) }

// each calls visit for every field of every object in a tree.
func each(tree any, path string, visit func(holder map[string]any, key, path string)) {
	switch node := tree.(type) {
	case map[string]any:
		keys := make([]string, 0, len(node))
		for key := range node {
			keys = append(keys, key)
		}
		for _, key := range keys {
			at := key
			if path != "" {
				at = path + "." + key
			}
			visit(node, key, at)
			each(node[key], at, visit)
		}
	case []any:
		for i, item := range node {
			each(item, fmt.Sprintf("%s[%d]", path, i), visit)
		}
	}
}

func encoded(t *testing.T, tree any) []byte {
	t.Helper()
	raw, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
