// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
	"github.com/vpnami/packer-plugin-vpnami/pki/profile"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// insideVariable tells a test process that it runs in a network namespace of
// its own.
const insideVariable = "VPNAMI_TEST_INSIDE"

// TestOpenVPN has OpenVPN itself judge what was issued. It runs once more in a
// network namespace, which goes away with it.
func TestOpenVPN(t *testing.T) {
	if os.Getenv(insideVariable) == "1" {
		testOpenVPNInside(t)
		return
	}
	need(t, "openvpn")
	need(t, "ip")
	if os.Geteuid() != 0 {
		if os.Getenv("VPNAMI_REQUIRE") == "1" {
			t.Fatal("a network namespace needs root, and VPNAMI_REQUIRE=1 forbids to skip")
		}
		t.Skip("SKIPPED: a network namespace needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestOpenVPN$", "-test.v")
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestOpenVPN/a_profile_connects")) {
		t.Errorf("inside the namespace: %v", err)
	}
}

const port = 1194

func testOpenVPNInside(t *testing.T) {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	office, lab := newOffice(t, "office"), newOffice(t, "lab")

	t.Run("a profile connects", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		office.connects(t, server, "client1", "udp")
	})
	t.Run("a profile connects over TCP", func(t *testing.T) {
		server := office.serve(t, "tcp", "force-cookie")
		office.connects(t, server, "client1", "tcp")
		reaches(t, office.profile(t, "client1", "tcp", nil), ": open, answered in ")
	})
	t.Run("a profile connects to its second gateway while the first is down", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		client := start(t, office.profile(t, "client1", "udp", func(p *profile.Profile) {
			p.Remotes = append([]profile.Remote{{Host: "127.0.0.1", Port: 9}}, p.Remotes...)
		}))
		client.waitFor(t, "Initialization Sequence Completed")
		client.end(t)
		server.end(t)
	})
	t.Run("the probe connects", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		office.connects(t, server, "probe", "udp")
	})
	t.Run("reach", func(t *testing.T) {
		mine, theirs := office.profile(t, "client1", "udp", nil), lab.profile(t, "client1", "udp", nil)
		for _, cookie := range []string{"force-cookie", "allow-noncookie"} {
			stop := office.serve(t, "udp", cookie)
			reaches(t, mine, ": open, answered in ")
			reaches(t, theirs, ": no answer within 2s: check that the gateway is up, that its security group admits udp port 1194 from here")
			stop.end(t)
		}
		reaches(t, mine, ": refused: the machine is there and nothing listens on udp port 1194")
	})
	t.Run("another authority's profile is refused", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		refused(t, server, lab.profile(t, "client1", "udp", nil), "tls-crypt-v2")
	})
	t.Run("another authority's certificate is refused", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		text := office.profile(t, "client1", "udp", func(p *profile.Profile) {
			p.Certificate, p.Key = lab.client.Pair.Certificate, lab.client.Pair.Key
		})
		refused(t, server, text, "VERIFY ERROR")
	})
	t.Run("the server's certificate does not log in", func(t *testing.T) {
		server := office.serve(t, "udp", "force-cookie")
		text := office.profile(t, "client1", "udp", func(p *profile.Profile) {
			p.Certificate, p.Key = office.server.Certificate, office.server.Key
		})
		refused(t, server, text, "certificate purpose")
	})
	t.Run("a client does not pose as the server", func(t *testing.T) {
		_ = office.serveAs(t, "udp", "force-cookie", office.client.Pair)
		client := start(t, office.profile(t, "client1", "udp", nil))
		client.waitFor(t, "certificate purpose")
	})
	t.Run("a server of another name is refused", func(t *testing.T) {
		_ = office.serve(t, "udp", "force-cookie")
		client := start(t, office.profile(t, "client1", "udp", func(p *profile.Profile) { p.ServerName = "elsewhere" }))
		client.waitFor(t, "VERIFY X509NAME ERROR")
	})
	for _, kind := range authority.KeyTypes() {
		t.Run("a CA with a key of "+kind, func(t *testing.T) {
			other := newOfficeOf(t, "other", authority.KeyType(kind), "first.last_2")
			other.connects(t, other.serve(t, "udp", "force-cookie"), "first.last_2", "udp")
		})
	}
	for _, form := range profile.Forms() {
		t.Run("a profile in the form "+form+" connects", func(t *testing.T) {
			server := office.serve(t, "udp", "force-cookie")
			client := start(t, office.laid(t, profile.Form(form)))
			client.waitFor(t, "Initialization Sequence Completed")
			server.waitFor(t, "[client1] Peer Connection Initiated")
			client.complainsOfNothing(t)
		})
	}
	t.Run("a profile for the time of a migration connects to both gateways", func(t *testing.T) {
		both := func(p *profile.Profile) { p.Unwrapped = true }
		for _, server := range []*running{office.serve(t, "udp", "force-cookie"), nil} {
			if server == nil {
				server = start(t, office.unwrapped(t))
				server.waitFor(t, "Initialization Sequence Completed")
			}
			client := start(t, office.profile(t, "client1", "udp", both))
			client.waitFor(t, "Initialization Sequence Completed")
			server.waitFor(t, "[client1] Peer Connection Initiated")
			client.complainsOfNothing(t)
			client.end(t)
			server.end(t)
		}
	})
	t.Run("the article's profile connects while the window is open", func(t *testing.T) {
		folder := t.TempDir()
		for name, text := range map[string][]byte{
			"ca.crt": bundle.CertificatesPEM(office.folder.CA()), "client1.crt": bundle.CertificatesPEM(office.client.Pair.Certificate), "client1.key": office.client.Pair.Key.Reveal(),
			"client1.ovpn": []byte("client\ndev tun\nproto udp\nremote 127.0.0.1 1194\nresolv-retry infinite\nnobind\npersist-key\npersist-tun\nca ca.crt\ncert client1.crt\nkey client1.key\nns-cert-type server\ncomp-lzo\nverb 3\n"),
		} {
			if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		server := start(t, office.unwrapped(t))
		server.waitFor(t, "Initialization Sequence Completed")
		client := start(t, filepath.Join(folder, "client1.ovpn"))
		client.waitFor(t, "Initialization Sequence Completed")
		client.end(t)
		server.end(t)
		refused(t, office.serve(t, "udp", "force-cookie"), filepath.Join(folder, "client1.ovpn"), "TLS Error")
	})
	t.Run("lint says what OpenVPN does", func(t *testing.T) {
		out, err := exec.Command("openvpn", "--version").Output()
		if len(out) == 0 || !bytes.HasPrefix(out, []byte("OpenVPN 2.6.")) {
			t.Skipf("NOT FOR THIS VERSION: what is said of 2.6 is put to 2.6 only (%.20q, %v)", out, err)
		}
		for _, example := range directives.Examples() {
			for _, role := range []directives.Role{directives.Server, directives.Client} {
				if example.Role == "" || example.Role == role {
					t.Run(string(role)+" "+example.Line, func(t *testing.T) { office.judges(t, example, role) })
				}
			}
		}
	})
	t.Run("OpenVPN's own keys are read", func(t *testing.T) {
		keysOfOpenVPN(t)
	})
}

// unwrapped is the server's configuration while the window for old profiles is
// open.
func (o office) unwrapped(t *testing.T) string {
	t.Helper()
	path := o.configuration(t, "udp", "force-cookie", o.server)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile("(?m)^tls-crypt-v2 .*$").ReplaceAll(text, []byte("compress migrate"))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

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

// office is an authority with one client and its server's and probe's pairs.
type office struct {
	folder authority.Folder
	client authority.Client
	server authority.Pair
	probe  authority.Client
}

func newOffice(t *testing.T, name string) office {
	t.Helper()
	return newOfficeOf(t, name, authority.ECDSAP256, "client1")
}

func newOfficeOf(t *testing.T, name string, kind authority.KeyType, person string) office {
	t.Helper()
	now := time.Now()
	passphrase := []byte("correct horse")
	folder, err := authority.Make(authority.Plan{Path: filepath.Join(t.TempDir(), name), Name: name, ServerName: "vpn.example.com"}, authority.UnderPassphrase{Type: kind, Passphrase: passphrase}, now)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := folder.Unlock(authority.Keys{Passphrase: passphrase}, now)
	if err != nil {
		t.Fatal(err)
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	client, err := issuer.Issue(authority.Person{Name: person}, wrapper, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	contents, err := folder.Server()
	if err != nil {
		t.Fatal(err)
	}
	return office{
		folder: folder, client: client,
		server: authority.Pair{Certificate: contents.Certificate, Key: contents.Key},
		probe: authority.Client{Person: authority.Person{Name: "vpnami-probe"}, TLSCryptV2: contents.Probe.TLSCryptV2,
			Pair: authority.Pair{Certificate: contents.Probe.Certificate, Key: contents.Probe.Key}},
	}
}

// profile writes a profile for client1 or the probe, after an edit.
func (o office) profile(t *testing.T, who, protocol string, edit func(*profile.Profile)) string {
	t.Helper()
	client := o.client
	if who == "probe" {
		client = o.probe
	}
	p := profile.Profile{
		Name: client.Name, Authority: o.folder.Name(), ServerName: o.folder.ServerName(), Protocol: protocol,
		Remotes: []profile.Remote{{Host: "127.0.0.1", Port: port}}, CA: []*x509.Certificate{o.folder.CA()},
		Certificate: client.Pair.Certificate, Key: client.Pair.Key, TLSCryptV2: client.TLSCryptV2,
	}
	if edit != nil {
		edit(&p)
	}
	text, err := p.Render()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), who+".ovpn")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (o office) serve(t *testing.T, protocol, cookie string) *running {
	t.Helper()
	return o.serveAs(t, protocol, cookie, o.server)
}

// serveAs starts a server with today's directives. Addresses and routes are
// left alone: both ends are in one namespace.
func (o office) serveAs(t *testing.T, protocol, cookie string, pair authority.Pair) *running {
	t.Helper()
	r := start(t, o.configuration(t, protocol, cookie, pair))
	r.waitFor(t, "Initialization Sequence Completed")
	return r
}

func (o office) configuration(t *testing.T, protocol, cookie string, pair authority.Pair) string {
	t.Helper()
	folder := t.TempDir()
	key := filepath.Join(folder, "server.key")
	if err := os.WriteFile(key, pair.Key.Reveal(), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate := filepath.Join(folder, "server.crt")
	if err := os.WriteFile(certificate, bundle.CertificatesPEM(pair.Certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	server := "udp4"
	if protocol == "tcp" {
		server = "tcp4-server"
	}
	text := fmt.Sprintf("port %d\nproto %s\ndev tun0\ndev-type tun\nifconfig-noexec\nroute-noexec\ntopology subnet\nserver 10.8.0.0 255.255.255.0\n"+
		"ca %s\ncert %s\nkey %s\ndh none\ntls-version-min 1.2\ntls-cert-profile preferred\nremote-cert-tls client\nverify-client-cert require\n"+
		"tls-crypt-v2 %s %s\ndata-ciphers AES-256-GCM\ncrl-verify %s\nkeepalive 10 60\nverb 3\n",
		port, server, filepath.Join(o.folder.Path(), "ca", "1", "ca.crt"), certificate, key,
		filepath.Join(o.folder.Path(), "server", "1", "tls-crypt-v2.key"), cookie, filepath.Join(o.folder.Path(), "ca", "1", "crl.pem"))
	path := filepath.Join(folder, "server.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (o office) connects(t *testing.T, server *running, who, protocol string) {
	t.Helper()
	client := start(t, o.profile(t, who, protocol, nil))
	client.waitFor(t, "Initialization Sequence Completed")
	name := o.client.Name
	if who == "probe" {
		name = o.probe.Name
	}
	server.waitFor(t, "["+name+"] Peer Connection Initiated")
	client.complainsOfNothing(t)
}

func (r *running) complainsOfNothing(t *testing.T) {
	t.Helper()
	for _, bad := range []string{"WARNING", "DEPRECATED"} {
		for line := range strings.Lines(r.log(t)) {
			if strings.Contains(line, bad) {
				t.Errorf("the client says: %s", line)
			}
		}
	}
}

// laid writes client1's profile in a form, and returns the path for OpenVPN.
func (o office) laid(t *testing.T, form profile.Form) string {
	t.Helper()
	const password = "battery staple"
	laid, err := profile.Profile{
		Name: o.client.Name, Authority: o.folder.Name(), ServerName: o.folder.ServerName(), Protocol: "udp",
		Remotes: []profile.Remote{{Host: "127.0.0.1", Port: port}}, CA: []*x509.Certificate{o.folder.CA()},
		Certificate: o.client.Pair.Certificate, Key: o.client.Pair.Key, TLSCryptV2: o.client.TLSCryptV2,
	}.In(form, password)
	if err != nil {
		t.Fatal(err)
	}
	out, configuration := t.TempDir(), ""
	for _, file := range laid.Files {
		path := filepath.Join(out, file.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(path) == ".ovpn" {
			configuration = path
			if form == profile.PKCS12 {
				file.Data = append(file.Data, "askpass password\n"...)
			}
		}
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(configuration), "password"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return configuration
}

func refused(t *testing.T, server *running, profilePath, why string) {
	t.Helper()
	client := start(t, profilePath)
	server.waitFor(t, why)
	if strings.Contains(client.log(t), "Initialization Sequence Completed") {
		t.Error("the client connected")
	}
}

func reaches(t *testing.T, path, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	knock, err := readKnock(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	d := &desk{out: &out, err: &out, now: time.Now}
	err = d.reach(ctx, knock, 2*time.Second, false)
	if open := strings.Contains(want, "open"); !strings.Contains(out.String(), want) || open != (err == nil) {
		t.Errorf("%v\n%swant %q", err, out.String(), want)
	}
}

// running is an openvpn with its log.
type running struct {
	cmd  *exec.Cmd
	path string
}

func start(t *testing.T, configuration string) *running {
	t.Helper()
	r := &running{path: filepath.Join(t.TempDir(), "log")}
	output, err := os.Create(r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	args := []string{"--cd", filepath.Dir(configuration), "--config", configuration}
	if strings.HasSuffix(configuration, ".ovpn") {
		args = append(args, "--dev", "tun1", "--dev-type", "tun", "--ifconfig-noexec", "--route-noexec", "--connect-retry", "1")
	}
	r.cmd = exec.Command("openvpn", args...)
	r.cmd.Stdout, r.cmd.Stderr = output, output
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.end(t) })
	return r
}

func (r *running) end(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	_ = r.cmd.Wait()
}

func (r *running) log(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func (r *running) waitFor(t *testing.T, words string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(r.log(t), words) {
			return
		}
	}
	t.Fatalf("openvpn did not say %q within 20s:\n%s", words, r.log(t))
}
