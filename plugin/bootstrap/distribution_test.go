// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// What each release renders to: everything that the code asks of mmdebstrap and
// writes for the boot, so that Ubuntu, whose packages cannot be had everywhere,
// is kept honest.
func TestRendered(t *testing.T) {
	for _, tt := range []struct {
		distribution, release, arch string
		backports                   bool
	}{
		{"debian", "bookworm", "amd64", false},
		{"debian", "trixie", "amd64", false},
		{"debian", "trixie", "amd64", true},
		{"debian", "trixie", "arm64", false},
		{"ubuntu", "noble", "amd64", false},
		{"ubuntu", "resolute", "amd64", false},
		{"ubuntu", "resolute", "arm64", false},
	} {
		name := tt.distribution + "-" + tt.release + "-" + tt.arch
		options := map[string]any{"distribution": tt.distribution, "release": tt.release, "architecture": tt.arch, "packages": []string{"tcpdump"}}
		if tt.backports {
			name += "-backports"
			options["backports"], options["mirror"], options["security_mirror"] = true, "http://mine/debian", "http://mine/security"
		}
		t.Run(name, func(t *testing.T) {
			c, err := prepare(t, options)
			if err != nil {
				t.Fatal(err)
			}
			d := newDisk(c)
			var out strings.Builder
			sources, err := sourcesList(c, aptHost{})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&out, strings.Join(mmdebstrapArgs(c, "APT.CONF", "ROOT", sources), "\n"))
			fmt.Fprintf(&out, "\n%s\n%s\n%+v\n", d.fstab(), d.loaderEntry("6.12.0-1"), d.firmware)
			golden(t, name+".golden", out.String())
		})
	}
}

const debianHost = `http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm contrib
http://mirror.example/debian/ bookworm-updates main
http://mirror.example/debian-security/ bookworm-security main
http://mirror.example/debian/ bookworm-backports main
https://elsewhere.example/node/ nodistro main
`

func TestSourcesList(t *testing.T) {
	line := func(rest string) string {
		return "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " + rest
	}
	// None: mmdebstrap's own.
	var public []string
	for _, tt := range []struct {
		name    string
		options map[string]any
		host    aptHost
		want    []string
	}{
		{"no apt on the host", nil, aptHost{}, public},
		{"a host of the same distribution: its archives, our release", nil,
			aptHost{id: "debian", codename: "bookworm", targets: []byte(debianHost)},
			[]string{
				line("http://mirror.example/debian trixie main"),
				line("http://mirror.example/debian trixie-updates main"),
				line("http://mirror.example/debian-security trixie-security main"),
			}},
		{"a host of another distribution", nil,
			aptHost{id: "ubuntu", codename: "noble", targets: []byte("http://mirror.example/ubuntu/ noble main\n")}, public},
		{"a host without security updates is no model", nil,
			aptHost{id: "debian", codename: "bookworm", targets: []byte("http://mirror.example/debian/ bookworm main\n")}, public},
		{"the user's mirrors", map[string]any{"mirror": "http://mine/debian", "security_mirror": "http://mine/sec"}, aptHost{},
			[]string{
				line("http://mine/debian trixie main"),
				line("http://mine/debian trixie-updates main"),
				line("http://mine/sec trixie-security main"),
			}},
		{"a host of the same distribution, with backports", map[string]any{"backports": true},
			aptHost{id: "debian", codename: "bookworm", targets: []byte(debianHost)},
			[]string{
				line("http://mirror.example/debian trixie main"),
				line("http://mirror.example/debian trixie-updates main"),
				line("http://mirror.example/debian-security trixie-security main"),
				line("http://mirror.example/debian trixie-backports main"),
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := prepare(t, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			sources, err := sourcesList(c, tt.host)
			if diff := cmp.Diff(tt.want, sources); diff != "" || err != nil {
				t.Errorf("(-want +got):\n%s, %v", diff, err)
			}
		})
	}
}

// TestHostSourcesThatNoImageMayHave: what the host's apt is given, the image's would
// keep for everybody to read, and update from.
func TestHostSourcesThatNoImageMayHave(t *testing.T) {
	c, err := prepare(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for with, want := range map[string]string{
		"http://me:s3cret@mirror.example": "must not hold a password",
		"http://127.0.0.1:3142":           "it is this machine itself",
		"http://localhost:3142":           "it is this machine itself",
		"mirror+file:/etc/apt":            "it is the address of an archive",
	} {
		host := aptHost{id: "debian", codename: "bookworm", targets: []byte(strings.ReplaceAll(debianHost, "http://mirror.example", with))}
		lines, err := sourcesList(c, host)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "name one with \"mirror\"") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %q, %v", with, lines, err)
		}
	}
}

// Of the host's apt, only what decides how archives are reached goes along.
func TestAptSettings(t *testing.T) {
	got := string(aptSettings(aptHost{settings: []byte(`Acquire "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::HTTPS::Proxy "http://proxy.example:3128";
Acquire::Check-Valid-Until "false";
Acquire::Languages:: "none";
DPkg::Post-Invoke:: "touch /tmp/x";
Acquire::Retries "3";
`)}))
	want := `APT::Install-Recommends "false";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::HTTPS::Proxy "http://proxy.example:3128";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHostCheck(t *testing.T) {
	c, err := prepare(t, map[string]any{"architecture": "amd64", "output_directory": "out"})
	if err != nil {
		t.Fatal(err)
	}
	all := func(string) bool { return true }
	for _, tt := range []struct {
		name string
		host host
		want []string
	}{
		{"fit", host{"linux", "amd64", 0, all, neededRoom}, nil},
		{"not Linux", host{"darwin", "arm64", 501, all, 0}, []string{"it is darwin"}},
		{"not root", host{"linux", "amd64", 1000, all, neededRoom}, []string{"must be root", "sudo --preserve-env"}},
		{"another architecture", host{"linux", "arm64", 0, all, neededRoom}, []string{`architecture "amd64"`, `"arm64"`}},
		{"no room", host{"linux", "amd64", 0, all, 100 << 20}, []string{`"out"`, "100 MiB are free", "3072 MiB"}},
		{"nothing there", host{"linux", "amd64", 1000, func(string) bool { return false }, 0}, []string{
			"mmdebstrap, sgdisk, mkfs.vfat, mmd, mcopy, mkfs.ext4, dumpe2fs, debugfs, tar, nsenter, mount, chroot, /usr/share/keyrings/debian-archive-keyring.gpg not found",
			"apt-get install mmdebstrap gdisk dosfstools mtools e2fsprogs tar util-linux mount coreutils debian-archive-keyring",
			"must be root", "MiB are free",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.host.check(c)
			if (err != nil) != (tt.want != nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}
