// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net/netip"
	"strings"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle/bundletest"
)

func TestRosterIsChecked(t *testing.T) {
	a := bundletest.New(t, now)
	server, list := a.Server(), a.CRL(1)
	address := netip.MustParseAddr
	for name, c := range map[string]struct {
		roster []bundle.Person
		want   string
	}{
		"name twice":          {[]bundle.Person{{Name: "a"}, {Name: "a"}}, "roster[1].name"},
		"comma":               {[]bundle.Person{{Name: "a,b"}}, "has ',' in it"},
		"NUL":                 {[]bundle.Person{{Name: "a\x00b"}}, "has '\\x00' in it"},
		"reserved":            {[]bundle.Person{{Name: bundle.ProbeName}}, "is reserved"},
		"address twice":       {[]bundle.Person{{Name: "a", Address: address("10.0.0.1")}, {Name: "b", Address: address("10.0.0.1")}}, "as is that of \"a\""},
		"IPv6":                {[]bundle.Person{{Name: "a", Address: address("fd00::1")}}, "roster[0].address"},
		"common name DEFAULT": {[]bundle.Person{{Name: "a", CommonName: "DEFAULT", Serials: []*big.Int{big.NewInt(5)}}}, "roster[0].common_name"},
		"common name probe":   {[]bundle.Person{{Name: "a", CommonName: bundle.ProbeName, Serials: []*big.Int{big.NewInt(5)}}}, "roster[0].common_name"},
		"common name taken":   {[]bundle.Person{{Name: "b"}, {Name: "a", CommonName: "b", Serials: []*big.Int{big.NewInt(5)}}}, "roster[1].common_name"},
		"common name is name": {[]bundle.Person{{Name: "a", CommonName: "a", Serials: []*big.Int{big.NewInt(5)}}}, "roster[0].common_name"},
		"common name control": {[]bundle.Person{{Name: "a", CommonName: "b\nc", Serials: []*big.Int{big.NewInt(5)}}}, "roster[0].common_name"},
		"common name NUL":     {[]bundle.Person{{Name: "a", CommonName: "b c\x00d", Serials: []*big.Int{big.NewInt(5)}}}, "roster[0].common_name"},
		"common name long":    {[]bundle.Person{{Name: "a", CommonName: strings.Repeat("x ", 33), Serials: []*big.Int{big.NewInt(5)}}}, "roster[0].common_name"},
		"common name unbound": {[]bundle.Person{{Name: "a", CommonName: "b c"}}, "roster[0].serials"},
		"common name's file":  {[]bundle.Person{{Name: "a_b"}, {Name: "c", CommonName: "a/b", Serials: []*big.Int{big.NewInt(5)}}}, "roster[1].common_name"},
		"common names' file":  {[]bundle.Person{{Name: "b", CommonName: "a/b", Serials: []*big.Int{big.NewInt(6)}}, {Name: "c", CommonName: "a/b", Serials: []*big.Int{big.NewInt(5)}}}, "roster[0].common_name"},
		"loopback":            {[]bundle.Person{{Name: "a", Address: address("127.0.0.1")}}, "roster[0].address"},
		"metadata address":    {[]bundle.Person{{Name: "a", Address: address("169.254.169.254")}}, "roster[0].address"},
		"serial twice":        {[]bundle.Person{{Name: "a", Serials: []*big.Int{big.NewInt(5)}}, {Name: "b", Serials: []*big.Int{big.NewInt(5)}}}, "roster[1].serials"},
		"group twice":         {[]bundle.Person{{Name: "a", Groups: []string{"x", "x"}}}, "roster[0].groups"},
		"group name":          {[]bundle.Person{{Name: "a", Groups: []string{"x y"}}}, "roster[0].groups"},
		"long note":           {[]bundle.Person{{Name: "a", Note: strings.Repeat("x", 257)}}, "roster[0].note"},
		"note with escape":    {[]bundle.Person{{Name: "a", Note: "\x1b[31m"}}, "roster[0].note"},
		"note turned":         {[]bundle.Person{{Name: "a", Note: "a\u202eb"}}, "roster[0].note"},
	} {
		if _, err := bundle.Seal(server, bundle.Access{CRL: list, Roster: c.roster}, "vpn", 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	a := bundletest.New(t, now)
	server, access := a.Server(), bundle.Access{CRL: a.CRL(1)}
	for _, prefix := range []string{"", "/vpn", "vpn/", "a//b", "a b", "a\n", "ä", strings.Repeat("x", 502)} {
		if _, err := bundle.Seal(server, access, prefix, 1); err == nil || !strings.Contains(err.Error(), "prefix") {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	if _, err := bundle.Seal(server, access, "vpn", 0); err == nil {
		t.Error("generation 0 passes")
	}
	big := server
	for range 200 {
		big.CA = append(big.CA, a.CA)
	}
	if _, err := bundle.Seal(big, access, "vpn", 1); err == nil || !strings.Contains(err.Error(), "a secret holds at most 65536") {
		t.Errorf("too big: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"client1", "first.last", "a_b.c", "A-1", strings.Repeat("x", 64)} {
		if err := bundle.CheckPersonName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", ".", "..", ".a", "-a", "_a", "a b", "a,b", "a/b", "a\x00", "a\n", "é", "a@b", "а", strings.Repeat("x", 65)} {
		if err := bundle.CheckName(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	for _, reserved := range []string{"DEFAULT", "default", "vpnami-probe", "VPNami-x"} {
		if err := bundle.CheckName(reserved); err != nil {
			t.Error(err)
		}
		if err := bundle.CheckPersonName(reserved); err == nil {
			t.Errorf("%q passes for a person", reserved)
		}
	}
	if got := bundle.ServerID("a") + " " + bundle.AccessID("a") + " " + bundle.ShardID("a", 7); got != "a/server a/access a/access/007" {
		t.Error(got)
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	secret := bundle.NewSecret([]byte("hunter2"))
	type holder struct {
		Open   bundle.Secret
		hidden bundle.Secret
		nested struct{ deep []bundle.Secret }
	}
	h := holder{Open: secret, hidden: secret}
	h.nested.deep = []bundle.Secret{secret}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%p", "%t"} {
		for _, value := range []any{secret, &secret, h, &h, []any{h}, map[string]holder{"a": h}, fmt.Errorf("x: %v", secret)} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	text, structured := slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))
	for _, logger := range []*slog.Logger{text, structured} {
		logger.Info("x", "secret", secret, "holder", h, "pointer", &h, "list", []bundle.Secret{secret})
	}
	raw, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(raw)
	asKeys, err := json.Marshal(map[string]any{"a": secret, "b": &secret})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asKeys)
	for _, form := range []string{"hunter2", "68756e74657232", "68756E74657232", "104 117 110", "aHVudGVyMg"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q was printed", form)
		}
	}
	if !strings.Contains(out.String(), "sha256:f52fbd32b2b3...") {
		t.Error("no fingerprint was printed")
	}
	if got := string(secret.Reveal()); got != "hunter2" {
		t.Errorf("revealed %q", got)
	}
	var zero bundle.Secret
	if !zero.IsZero() || zero.String() != "sha256:none" {
		t.Errorf("zero: %v", zero)
	}
}
