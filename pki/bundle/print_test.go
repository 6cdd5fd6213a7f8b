// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestKeysAreNotPrinted prints whatever holds the bytes of keys on their way
// to and from a secret, in every way that a debugging line might.
func TestKeysAreNotPrinted(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----hunter2"
	secret := revealed{NewSecret([]byte(key))}
	document := serverDocument{Authority: "office", Key: secret, TLSCryptV2: secret, Probe: probeDocument{Key: secret, TLSCryptV2: secret}}
	raw, err := encode(document)
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(raw, []byte(key)); got != 4 {
		t.Fatalf("the document itself has the key %d times, want 4", got)
	}
	sealed := Sealed{Server: raw, Head: raw, Shards: [][]byte{raw}}
	parsed, err := readObject("probe", json.RawMessage(`{"key": "`+key+`"}`), "key")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	text, structured := slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))
	for _, value := range []any{sealed, &sealed, []Sealed{sealed}, document, &document, document.Probe, parsed, &parsed, []object{parsed}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
		text.Info("x", "value", value)
		structured.Info("x", "value", value)
	}
	asJSON, err := json.Marshal([]any{sealed, &sealed, parsed})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	for _, form := range []string{
		"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%X", "hunter2"), strings.Trim(fmt.Sprintf("%d", []byte("hunter2")), "[]"),
		"0x68, 0x75, 0x6e", base64.StdEncoding.EncodeToString(raw)[:40],
	} {
		if strings.Contains(out.String(), form) {
			t.Errorf("%q was printed", form)
		}
	}
	if !strings.Contains(out.String(), "shards: 1") || !strings.Contains(out.String(), NewSecret(raw).String()) {
		t.Error("a sealed bundle cannot be told from another")
	}
}
