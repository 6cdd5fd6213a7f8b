// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux

package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// judges has OpenVPN start with a directive more, and compares what it does with
// what lint says.
func (o office) judges(t *testing.T, example directives.Example, role directives.Role) {
	t.Helper()
	path, started := o.profile(t, "client1", "udp", nil), "UDPv4 link remote"
	if role == directives.Server {
		path, started = o.configuration(t, "udp", "force-cookie", o.server), "Initialization Sequence Completed"
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Where the file has the directive, the example takes its place.
	name, _, _ := strings.Cut(example.Line, " ")
	var kept []string
	for _, line := range strings.Split(string(text), "\n") {
		if first, _, _ := strings.Cut(line, " "); first != name {
			kept = append(kept, line)
		}
	}
	if err := os.WriteFile(path, []byte(example.Line+"\n"+strings.Join(kept, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, path)
	var log string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if log = r.log(t); strings.Contains(log, started) || strings.Contains(log, "Options error") || strings.Contains(log, "Exiting due to fatal error") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("openvpn neither starts nor ends:\n%s", log)
		}
	}
	fatal := !strings.Contains(log, started)
	if fatal != (example.On26 == directives.Fatal) {
		t.Errorf("OpenVPN 2.6 starts: %v; lint says %q:\n%s", !fatal, example.On26, log)
	}
	complaint := regexp.MustCompile(`(?i)warning|deprecated|note:|ignored|ignoring|unsupported`)
	var says []string
	for line := range strings.Lines(log) {
		if complaint.MatchString(line) && !strings.Contains(line, "--cipher is not set") && !strings.Contains(line, "ovpn-dco") { // said always
			says = append(says, line)
		}
	}
	wrong := example.On26 == directives.Warns && len(says) == 0 || example.On26 == directives.Works && len(says) > 0
	if wrong { // what is ignored is told of, or not
		t.Errorf("OpenVPN 2.6 says of it: %q; lint says %q", says, example.On26)
	}
}

// keysOfOpenVPN compares the native key format with OpenVPN's --genkey.
func keysOfOpenVPN(t *testing.T) {
	folder := t.TempDir()
	serverFile, clientFile := filepath.Join(folder, "server.key"), filepath.Join(folder, "client.key")
	generate := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("openvpn", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	read := func(path string) []byte {
		t.Helper()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	generate("--genkey", "tls-crypt-v2-server", serverFile)
	generate("--tls-crypt-v2", serverFile, "--genkey", "tls-crypt-v2-client", clientFile)
	server, err := tlscrypt.ParseServerKey(read(serverFile))
	if err != nil {
		t.Fatal(err)
	}
	client, err := tlscrypt.ParseClientKey(read(clientFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Owns(client); err != nil {
		t.Error(err)
	}
	// To the byte: the same length, the same text form.
	mine, err := server.NewClientKey(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(mine.PEM()), len(read(clientFile)); got != want {
		t.Errorf("a client key has %d bytes of PEM, OpenVPN's has %d", got, want)
	}
	if !bytes.Equal(client.PEM(), read(clientFile)) || !bytes.Equal(server.PEM(), read(serverFile)) {
		t.Error("OpenVPN's keys are written in another form")
	}
}
