// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package tlscrypt

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func newKeys(t *testing.T) (ServerKey, ClientKey) {
	t.Helper()
	server, err := NewServerKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client, err := server.NewClientKey(rand.Reader, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

func TestKeysSurvivePEM(t *testing.T) {
	server, client := newKeys(t)
	server2, err := ParseServerKey(server.PEM())
	if err != nil {
		t.Fatal(err)
	}
	client2, err := ParseClientKey(client.PEM())
	if err != nil {
		t.Fatal(err)
	}
	if err := server2.Owns(client2); err != nil {
		t.Error(err)
	}
	other, _ := newKeys(t)
	if err := other.Owns(client); err == nil {
		t.Error("another server key owns the client key")
	}
	mixed := client
	mixed.key[0] ^= 1
	if err := server.Owns(mixed); err == nil {
		t.Error("a client key that differs from what is wrapped passes")
	}
}

func TestParseRefuses(t *testing.T) {
	server, client := newKeys(t)
	short := ClientKey{key: client.key, wrapped: client.wrapped[:40]}
	lying := ClientKey{key: client.key, wrapped: append(bytes.Clone(client.wrapped), 0, 0)}
	for name, c := range map[string]struct{ text, want string }{
		"empty":      {"", "no PEM"},
		"server key": {string(server.PEM()), "must be \"OpenVPN tls-crypt-v2 client key\""},
		"two":        {string(client.PEM()) + string(client.PEM()), "second PEM block"},
		"short":      {string(short.PEM()), "it must have 546 to 1280"},
		"length":     {string(lying.PEM()), "says that its wrapped part"},
	} {
		if _, err := ParseClientKey([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := ParseServerKey(client.PEM()); err == nil {
		t.Error("a client key passes for a server key")
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	server, client := newKeys(t)
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "server", server, "client", client)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		fmt.Fprintf(&logged, verb+verb, server, client)
	}
	for _, secret := range [][]byte{server.bytes[:4], client.key[:4]} {
		for _, form := range []string{fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprintf("%d", secret), "[]"), string(secret)} {
			if strings.Contains(logged.String(), form) {
				t.Errorf("printed %q", form)
			}
		}
	}
}

func TestAnswerMustBeAuthentic(t *testing.T) {
	_, client := newKeys(t)
	session := Session{1, 2, 3, 4, 5, 6, 7, 8}
	answer := func(opcode byte, to Session, key []byte) []byte {
		packet := append([]byte{opcode << opcodeShift}, make([]byte, headerSize-1)...)
		plain := append([]byte{1, 0, 0, 0, 0}, to[:]...)
		return append(packet, sealControl(key, packet, append(plain, 0, 0, 0, 0))...)
	}
	if err := client.CheckAnswer(session, answer(hardResetServerV2, session, client.key[:keySize])); err != nil {
		t.Error(err)
	}
	for name, packet := range map[string][]byte{
		"echo of the hello":   client.Hello(session, time.Now()),
		"short":               {0x40},
		"another key":         answer(hardResetServerV2, session, client.key[keySize:]),
		"another session":     answer(hardResetServerV2, Session{9}, client.key[:keySize]),
		"another kind":        answer(3, session, client.key[:keySize]),
		"no acknowledgements": append(answer(hardResetServerV2, session, client.key[:keySize])[:headerSize], sealControl(client.key[:keySize], append([]byte{hardResetServerV2 << opcodeShift}, make([]byte, headerSize-1)...), []byte{0})...),
	} {
		if err := client.CheckAnswer(session, packet); err == nil {
			t.Errorf("%s passes for an answer", name)
		}
	}
}

func FuzzParseClientKey(f *testing.F) {
	server, err := NewServerKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	client, err := server.NewClientKey(rand.Reader, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(client.PEM())
	f.Add([]byte("-----BEGIN OpenVPN tls-crypt-v2 client key-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseClientKey(text)
		if err != nil {
			return
		}
		again, err := ParseClientKey(key.PEM())
		if err != nil || !bytes.Equal(again.wrapped, key.wrapped) {
			t.Fatalf("a key does not survive its own PEM: %v", err)
		}
		_ = server.Owns(key)
	})
}

func FuzzCheckAnswer(f *testing.F) {
	server, err := NewServerKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	client, err := server.NewClientKey(rand.Reader, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{hardResetServerV2 << opcodeShift})
	f.Add(make([]byte, headerSize+tagSize))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if client.CheckAnswer(Session{1}, packet) == nil {
			t.Fatal("a packet of nobody passes for an answer")
		}
	})
}
