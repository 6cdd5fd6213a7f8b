// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux

package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// judged starts OpenVPN with more lines, which take the place of those that the
// configuration has of the same directives. It returns what OpenVPN says, and
// whether it starts.
func (o office) judged(t *testing.T, role directives.Role, lines ...string) (string, bool) {
	t.Helper()
	path, started := o.profile(t, "client1", "udp", nil), "UDPv4 link remote"
	if role == directives.Server {
		path, started = o.configuration(t, "udp", "force-cookie", o.server), "Initialization Sequence Completed"
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	against := map[string][]string{"server-bridge": {"server"}, "tls-version-max": {"tls-version-min"}, "ncp-ciphers": {"data-ciphers"}}
	replaced := map[string]bool{}
	var all []string
	for _, line := range lines {
		name, lacks := strings.CutPrefix(line, "no ")
		if !lacks {
			all = append(all, line)
			name, _, _ = strings.Cut(strings.TrimPrefix(line, "setenv opt "), " ")
		}
		replaced[name] = true
		for _, other := range against[name] {
			replaced[other] = true
		}
	}
	end := "" // of what is left out
	for line := range strings.Lines(string(text)) {
		first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		tag := strings.Trim(first, "<>")
		switch {
		case end != "":
			if first == end {
				end = ""
			}
		case tag != first && replaced[tag]:
			end = "</" + tag + ">"
		case !replaced[first]:
			all = append(all, strings.TrimSuffix(line, "\n"))
		}
	}
	folder := filepath.Dir(path)
	if err := os.WriteFile(path, []byte(strings.Join(all, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	// What the lines name.
	for name, data := range map[string][]byte{
		"empty": nil, "password": []byte("user\nword\n"), "extra.crt": bundle.CertificatesPEM(o.folder.CA()),
		"token.key": pem.EncodeToMemory(&pem.Block{Type: "OpenVPN auth-token server key", Bytes: make([]byte, 256)}),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "folder"), 0o700); err != nil {
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
	return log, strings.Contains(log, started)
}

// complaintsIn are the lines of a log in which OpenVPN says that something could
// be better.
func complaintsIn(log string, expected ...string) []string {
	complaint := regexp.MustCompile(`(?i)warning|deprecated|note:|ignored|ignoring|unsupported|unrecognized`)
	expected = append(expected, "--cipher is not set", "ovpn-dco") // said always
	var says []string
	for line := range strings.Lines(log) {
		if complaint.MatchString(line) && !slices.ContainsFunc(expected, func(words string) bool { return strings.Contains(line, words) }) {
			says = append(says, line)
		}
	}
	return says
}

// judges compares what OpenVPN does with a directive more with what lint says.
func (o office) judges(t *testing.T, example directives.Example, role directives.Role) {
	t.Helper()
	log, starts := o.judged(t, role, append([]string{example.Line}, example.With...)...)
	if starts == (example.On26 == directives.Fatal) {
		t.Errorf("OpenVPN 2.6 starts: %v; lint says %q:\n%s", starts, example.On26, log)
	}
	says := complaintsIn(log)
	wrong := example.On26 == directives.Warns && len(says) == 0 || example.On26 == directives.Works && len(says) > 0
	if wrong { // what is ignored is told of, or not
		t.Errorf("OpenVPN 2.6 says of it: %q; lint says %q", says, example.On26)
	}
}

// judgesValues compares whether OpenVPN starts with what lint says. What lint says of
// 2.7 is put to a 2.7 where that is what the machine has.
func (o office) judgesValues(t *testing.T) {
	version, err := exec.Command("openvpn", "--version").Output()
	if len(version) == 0 {
		t.Fatal(err)
	}
	is26, is27 := bytes.HasPrefix(version, []byte("OpenVPN 2.6.")), bytes.HasPrefix(version, []byte("OpenVPN 2.7."))
	if !is26 && !is27 {
		t.Skipf("NOT FOR THIS VERSION: it is put to 2.6 and 2.7 (%.20q)", version)
	}
	for _, example := range directives.ValueExamples() {
		says := example.On26
		if is27 {
			says = example.On27
		}
		t.Run(string(example.Role)+" "+example.Line, func(t *testing.T) {
			if log, starts := o.judged(t, example.Role, append([]string{example.Line}, example.With...)...); starts == (says == directives.Fatal || says == directives.Unknown) {
				t.Errorf("OpenVPN starts: %v; lint says %q:\n%s", starts, says, log)
			}
		})
	}
}

// takesNewGroups has the OpenSSL of this machine decide what lint says that it decides.
func (o office) takesNewGroups(t *testing.T) {
	version, err := exec.Command("openvpn", "--version").Output()
	found := regexp.MustCompile(`library versions: OpenSSL (\d+)\.(\d+)`).FindSubmatch(version)
	if found == nil {
		t.Fatalf("openvpn does not say which OpenSSL it has (%v): %.200q", err, version)
	}
	major, minor := string(found[1]), string(found[2])
	knows := major > "3" || major == "3" && minor >= "5"
	if log, starts := o.judged(t, directives.Server, directives.NewGroups()); starts != knows {
		t.Errorf("with OpenSSL %s.%s OpenVPN starts: %v\n%s", major, minor, starts, log)
	}
}

// startsWithAll puts to OpenVPN in one configuration what lint has nothing to say
// of.
func (o office) startsWithAll(t *testing.T, role directives.Role) {
	t.Helper()
	log, starts := o.judged(t, role, append(directives.Harmless(role), "persist-key")...)
	// Of scripts and of another user it says this much with every configuration.
	if says := complaintsIn(log, "script-security setting may allow", "UID/GID downgrade will be delayed"); !starts || len(says) > 0 {
		t.Errorf("OpenVPN 2.6 starts: %v, and says %q:\n%s", starts, says, log)
	}
}

// bridgeNeedsDH is what lint makes of a server that has server-bridge alone.
func (o office) bridgeNeedsDH(t *testing.T) {
	bridge := []string{"server-bridge 10.8.0.4 255.255.255.0 10.8.0.128 10.8.0.254", "dev tap0", "dev-type tap"}
	if log, starts := o.judged(t, directives.Server, append(bridge, "dh none")...); !starts {
		t.Errorf("with \"dh none\":\n%s", log)
	}
	if log, starts := o.judged(t, directives.Server, append(bridge, "setenv opt dh")...); starts {
		t.Errorf("without \"dh\":\n%s", log)
	}
}

// readsWords compares the words that OpenVPN takes lines for with ours.
func readsWords(t *testing.T) {
	said := func(text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("openvpn", "--config", path).CombinedOutput()
		if err == nil {
			t.Errorf("it starts with %q", text)
		}
		return string(out)
	}
	var text, want []string
	for _, example := range directives.WordExamples() {
		if !example.Refused {
			text = append(text, example.Line)
			want = append(want, "ECHO:"+strings.Join(example.Words[1:], " "))
			continue
		}
		if log := said(example.Line); strings.Contains(log, "ECHO") || !strings.Contains(log, "Options ") {
			t.Errorf("%q: %s", example.Line, log)
		}
	}
	log := said(strings.Join(append(text, "that-ends-it"), "\n"))
	var got []string
	for line := range strings.Lines(log) {
		if at := strings.Index(line, "ECHO:"); at >= 0 {
			got = append(got, strings.TrimSuffix(line[at:], "\n"))
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, log)
	}
}

// goesTo has OpenVPN connect to what reach knocks at.
func (o office) goesTo(t *testing.T) {
	for text, want := range map[string]string{
		"port 443\nremote 127.0.0.1\n":                                                          "127.0.0.1:443",
		"remote 127.0.0.1\nport 443\n":                                                          "127.0.0.1:443",
		"port 443\nremote 127.0.0.1 80\n":                                                       "127.0.0.1:80",
		"port 443\n<connection>\nremote 127.0.0.1\n</connection>\n":                             "127.0.0.1:443",
		"<connection>\nremote 127.0.0.1\n</connection>\nport 443\n":                             "127.0.0.1:1194",
		"<connection>\nremote 127.0.0.1\nport 500\n</connection>\nport 443\n":                   "127.0.0.1:500",
		"remote 127.0.0.3\n<connection>\nremote 127.0.0.1 1\nremote 127.0.0.2\n</connection>\n": "127.0.0.2:1",
		"<connection>\nport 500\nremote 127.0.0.1 80\n</connection>\nsetenv UV_NAME O'Brien\n":  "127.0.0.1:80",
		"proto tcp\n<connection>\nremote 127.0.0.1 80\nproto udp\n</connection>\n":              "127.0.0.1:80",
		"<connection>\nremote 127.0.0.1 80\n<tls-crypt-v2>\n</connection>\n</tls-crypt-v2>\n":   "",
	} {
		remote := ""
		if lines, err := directives.Parse([]byte(text)); err == nil {
			first := directives.Remotes(lines)[0]
			remote = first.Host + ":" + cmp.Or(first.Port, "1194")
		}
		if remote != want {
			t.Errorf("%q: %s, want %s", text, remote, want)
		}
		path := filepath.Join(t.TempDir(), "client.ovpn")
		whole := text + "client\nnobind\nca " + filepath.Join(o.folder.Path(), "ca", "1", "ca.crt") + "\nauth-user-pass password\n"
		for name, data := range map[string]string{path: whole, filepath.Join(filepath.Dir(path), "password"): "user\nword\n"} {
			if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		says := "UDPv4 link remote: [AF_INET]" + want + "\n"
		if want == "" {
			says = "Endtag </tls-crypt-v2> missing"
		}
		client := start(t, path)
		client.waitFor(t, says)
		client.end(t)
	}
}

// countsArguments has OpenVPN not know what has too few arguments or too many.
func countsArguments(t *testing.T) {
	lines := directives.Miscounted()
	path := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(path, []byte(strings.Join(append(lines, "that-ends-it"), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("openvpn", "--config", path).CombinedOutput()
	if err == nil {
		t.Error("it starts")
	}
	for i, line := range lines {
		name := strings.Fields(line)[2]
		if !bytes.Contains(out, fmt.Appendf(nil, "missing or extra parameter(s) in %s:%d: %s (", path, i+1, name)) {
			t.Errorf("OpenVPN takes %q", line)
		}
	}
}

// listsCiphers compares what there is with what lint takes.
func listsCiphers(t *testing.T) {
	ciphers, digests := directives.CiphersAndDigests()
	for flag, ours := range map[string][]string{"--show-ciphers": ciphers, "--show-digests": digests} {
		out, err := exec.Command("openvpn", flag).Output()
		if err != nil {
			t.Fatal(err)
		}
		var theirs []string
		for _, match := range regexp.MustCompile(`(?m)^(\S+) +\(?\d+ bit`).FindAllSubmatch(out, -1) {
			theirs = append(theirs, string(match[1]))
		}
		slices.Sort(ours)
		slices.Sort(theirs)
		if diff := gocmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s:\n%s", flag, diff)
		}
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
