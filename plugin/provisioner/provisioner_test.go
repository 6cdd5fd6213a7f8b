// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"context"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// fakeGuest is a guest that does nothing and remembers what it was asked.
type fakeGuest struct {
	packersdk.MockCommunicator
	mu       sync.Mutex
	commands []string
	uploads  []string
	// answers are the outputs of commands that contain the key; fails are those
	// that end badly, hangs those that do not end.
	answers map[string]string
	fails   map[string]int
	hangs   string
}

func debian13() *fakeGuest {
	return &fakeGuest{answers: map[string]string{
		"cat /etc/os-release":       "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n",
		"dpkg --print-architecture": "amd64\n",
		"id -u":                     "0\n",
		"mktemp -d":                 "/tmp/vpnami.abc\n",
		"'${Version}' openvpn":      "2.6.14-1+deb13u3",
		"db:Status-Status":          "openvpn\t2.6.14-1+deb13u3\tamd64\topenvpn\t2.6.14-1+deb13u3\tinstalled\n",
	}}
}

func (g *fakeGuest) Start(_ context.Context, cmd *packersdk.RemoteCmd) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.commands = append(g.commands, cmd.Command)
	if g.hangs != "" && strings.Contains(cmd.Command, g.hangs) {
		return nil
	}
	status := 0
	for part, answer := range g.answers {
		if strings.Contains(cmd.Command, part) {
			_, _ = io.WriteString(cmd.Stdout, answer)
		}
	}
	for part, s := range g.fails {
		if strings.Contains(cmd.Command, part) {
			_, _ = io.WriteString(cmd.Stderr, "it broke\n")
			status = s
		}
	}
	cmd.SetExited(status)
	return nil
}

func (g *fakeGuest) Upload(path string, r io.Reader, _ *os.FileInfo) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uploads = append(g.uploads, path)
	_, err := io.Copy(io.Discard, r)
	return err
}

// did tells the commands in short: the script, or the first words.
func (g *fakeGuest) did() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	script := regexp.MustCompile(`/scripts/([a-z]+\.sh)'`)
	var all []string
	for _, c := range g.commands {
		if m := script.FindStringSubmatch(c); m != nil {
			all = append(all, m[1])
			continue
		}
		all = append(all, strings.Join(strings.Fields(c)[:2], " "))
	}
	return all
}

func provision(t *testing.T, g *fakeGuest, options map[string]any) error {
	t.Helper()
	return prepared(t, options).Provision(context.Background(), packersdk.TestUi(t), g, nil)
}

func prepared(t *testing.T, options map[string]any) *Provisioner {
	t.Helper()
	p := new(Provisioner)
	if err := p.Prepare(options); err != nil {
		t.Fatal(err)
	}
	p.programs = fstest.MapFS{"programs/vpnami-firstboot_linux_amd64": {Data: []byte("ELF")}}
	return p
}

func TestProvisionOrder(t *testing.T) {
	g := debian13()
	if err := provision(t, g, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"cat /etc/os-release", "dpkg --print-architecture", "id -u",
		"mktemp -d", "tar -xzf",
		"wait.sh", "install.sh", "dpkg-query --show", "find /lib/modules/", "laydown.sh", "harden.sh",
		"dpkg-query --show", "install -D", "install -D", "clean.sh",
		"rm -rf",                                 // our own folder
		"/usr/sbin/vpnami-firstboot check-image", // the last act
	}
	if got := g.did(); !slices.Equal(got, want) {
		t.Errorf("did %q\nwant %q", got, want)
	}
	if want := []string{"/tmp/vpnami.abc/payload.tar.gz", "/tmp/vpnami.abc/tree.tar.gz", "/tmp/vpnami.abc/manifest.json", "/tmp/vpnami.abc/sbom.cdx.json"}; !slices.Equal(g.uploads, want) {
		t.Errorf("uploaded %q", g.uploads)
	}
}

// A guest whose user is not root: everything that changes it goes through sudo.
func TestProvisionSudo(t *testing.T) {
	g := debian13()
	g.answers["id -u"] = "1000\n"
	if err := provision(t, g, map[string]any{"packages": []string{"tcpdump"}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range g.commands {
		changes := strings.Contains(c, ".sh'") || strings.Contains(c, "install -D") || strings.Contains(c, "rm -rf") || strings.Contains(c, "check-image")
		if changes && !strings.HasPrefix(c, "sudo -n ") {
			t.Errorf("without sudo: %s", c)
		}
		if strings.Contains(c, "install.sh") && !strings.Contains(c, "'tcpdump'") {
			t.Errorf("the user's package is not installed: %s", c)
		}
	}
	g = debian13()
	g.answers["id -u"] = "1000\n"
	g.fails = map[string]int{"sudo -n true": 1}
	if err := provision(t, g, nil); err == nil || !strings.Contains(err.Error(), "NOPASSWD") {
		t.Errorf("a user without sudo: %v", err)
	}
}

// What goes wrong in a step stops the bake with its words, and our folder is
// removed in any case.
func TestProvisionFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*fakeGuest)
		want   []string
		last   string
	}{
		{"another system", func(g *fakeGuest) { g.answers["cat /etc/os-release"] = "PRETTY_NAME=\"Fedora Linux 44\"\nID=fedora\n" },
			[]string{`"Fedora Linux 44"`, "Debian 13"}, "cat /etc/os-release"},
		{"another architecture", func(g *fakeGuest) { g.answers["dpkg --print"] = ""; g.answers["dpkg --print-architecture"] = "s390x\n" },
			[]string{`"s390x"`, "amd64 and arm64"}, "id -u"},
		{"locks", func(g *fakeGuest) { g.fails = map[string]int{"wait.sh": 1} },
			[]string{"waiting for cloud-init", "it broke", "wait_timeout is 10m0s"}, "rm -rf"},
		{"apt", func(g *fakeGuest) { g.fails = map[string]int{"install.sh": 100} },
			[]string{"installing packages", "exit status 100", "it broke"}, "rm -rf"},
		{"an old openvpn", func(g *fakeGuest) { g.answers["'${Version}' openvpn"] = "2.5.1-3" },
			[]string{`openvpn is "2.5.1-3"`, "Debian 13 has 2.6"}, "rm -rf"},
		{"the check", func(g *fakeGuest) { g.fails = map[string]int{"check-image": 3} },
			[]string{"checking the image", "not fit to be launched", "exit status 3"}, "/usr/sbin/vpnami-firstboot check-image"},
		{"the connection", func(g *fakeGuest) { g.fails = map[string]int{"clean.sh": packersdk.CmdDisconnect} },
			[]string{"cleaning the guest", "the connection broke"}, "rm -rf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := debian13()
			tt.change(g)
			err := provision(t, g, nil)
			if err == nil {
				t.Fatal("the bake went on")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if did := g.did(); did[len(did)-1] != tt.last {
				t.Errorf("did %q; want %q last", did, tt.last)
			}
		})
	}
}

// A guest that hangs is waited for as long as install_timeout says, and no longer
// than Packer's own timeout, which ends the context.
func TestProvisionDeadline(t *testing.T) {
	p := prepared(t, map[string]any{"install_timeout": "7m"})
	if p.config.installTimeout != 7*time.Minute {
		t.Fatalf("install_timeout = 7m is %s", p.config.installTimeout)
	}
	p.config.installTimeout = 100 * time.Millisecond // less than a user may say
	g := debian13()
	g.hangs = "install.sh"
	began := time.Now()
	err := p.Provision(context.Background(), packersdk.TestUi(t), g, nil)
	if err == nil || !strings.Contains(err.Error(), "install_timeout allows, which is 100ms") || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}

	for _, script := range []string{"wait.sh", "install.sh", "laydown.sh", "clean.sh"} {
		g := debian13()
		g.hangs = script
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		began := time.Now()
		err := prepared(t, nil).Provision(ctx, packersdk.TestUi(t), g, nil)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "deadline exceeded") || time.Since(began) > 5*time.Second {
			t.Errorf("%s: after %s: %v", script, time.Since(began), err)
		}
		if did := g.did(); did[len(did)-1] != "rm -rf" {
			t.Errorf("%s: our folder is left: did %q", script, did)
		}
	}
}

func TestQuote(t *testing.T) {
	if got, want := quote(`it's $HOME`), `'it'\''s $HOME'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
