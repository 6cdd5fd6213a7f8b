// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

func prepare(t *testing.T, options map[string]any) (*Config, error) {
	t.Helper()
	c := new(Config)
	err := c.Prepare(options, map[string]any{"packer_build_name": "local"})
	return c, err
}

func TestPrepareDefaults(t *testing.T) {
	c, err := prepare(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Distribution != "debian" || c.Release != "trixie" || c.Architecture != runtime.GOARCH ||
		c.diskSize != 2<<30 || c.OutputDirectory != "output-local" || c.timeout != 30*time.Minute {
		t.Errorf("defaults: %+v", c)
	}
	c, err = prepare(t, map[string]any{"distribution": "ubuntu"})
	if err != nil || c.Release != "noble" {
		t.Errorf("the release of ubuntu: %q, %v; want noble", c.Release, err)
	}
}

// Each option of the source, wrong: the error names it, the value and what is
// allowed.
func TestPrepareRefuses(t *testing.T) {
	for _, tt := range []struct {
		option string
		value  any
		with   map[string]any
		want   []string
	}{
		{option: "distribution", value: "fedora", want: []string{`"fedora"`, `"debian", "ubuntu"`}},
		{option: "distribution", value: "Debian", want: []string{`"Debian"`}},
		{option: "release", value: "jammy", want: []string{`"jammy"`, "bookworm, trixie"}},
		{option: "release", value: "trixie", with: map[string]any{"distribution": "ubuntu"}, want: []string{`"trixie"`, "noble, resolute"}},
		{option: "release", value: "slink", with: map[string]any{"distribution": "fedora"}, want: []string{`"slink"`, "bookworm, noble, resolute, trixie"}},
		{option: "architecture", value: "x86_64", want: []string{`"x86_64"`, `"amd64", "arm64"`}},
		{option: "mirror", value: "mirror.example/debian", want: []string{"http://mirror.example/debian"}},
		{option: "mirror", value: "ftp://mirror.example/debian", want: []string{"address of an archive"}},
		{option: "mirror", value: "http://mirror/x] http://other/", want: []string{"address of an archive"}},
		{option: "mirror", value: "http://user:secret@mirror/debian", want: []string{"must not hold a password", "user:xxxxx@mirror"}},
		{option: "mirror", value: "http://mirror/debian#main", want: []string{"query (?) or a fragment (#)"}},
		{option: "mirror", value: "http://mirror/debian#", want: []string{"query (?) or a fragment (#)"}},
		{option: "mirror", value: "http://mirror/debian?x=y", want: []string{"query (?) or a fragment (#)"}},
		{option: "mirror", value: "http://mirror/debian?", want: []string{"query (?) or a fragment (#)"}},
		{option: "mirror", value: "http://@mirror/debian", want: []string{"must not hold a password"}},
		{option: "security_mirror", value: "", with: map[string]any{"mirror": "http://mirror/debian"}, want: []string{"an archive of their own"}},
		{option: "mirror", value: "http://mirror:65536/debian", want: []string{"port can be 1 to 65535"}},
		{option: "mirror", value: "http://mirror:0/debian", want: []string{"port can be 1 to 65535"}},
		{option: "mirror", value: "http://mirror:/debian", want: []string{"port can be 1 to 65535"}},
		{option: "mirror", value: "http://:80/debian", want: []string{"address of an archive"}},
		{option: "mirror", value: "http://user:secret@mirror:x/debian", want: []string{"address of an archive", `"xxxxx@mirror:x/debian"`}},
		{option: "security_mirror", value: "http://mirror:99999/x", with: map[string]any{"mirror": "http://mirror:65535/debian"}, want: []string{"port can be"}},
		{option: "security_mirror", value: "http://mirror/x#y", with: map[string]any{"mirror": "http://mirror/debian"}, want: []string{"fragment"}},
		{option: "security_mirror", value: "nowhere", with: map[string]any{"mirror": "http://mirror/debian"}, want: []string{"address of an archive"}},
		{option: "security_mirror", value: "http://mirror/security", want: []string{"mirror is not set"}},
		{option: "packages", value: []string{"tcpdump", "vim=2:9"}, want: []string{`"vim=2:9"`, "small letters"}},
		{option: "packages", value: []string{"-o", "x"}, want: []string{`"-o"`}},
		{option: "packages", value: []string{"g++", "openvpn-"}, want: []string{`"openvpn-"`, "an order to remove or install"}},
		{option: "packages", value: []string{"openvpn+"}, want: []string{`"openvpn+"`, "an order to remove or install"}},
		{option: "disk_size", value: "2GB", want: []string{`"2GB"`, `"2G"`}},
		{option: "disk_size", value: "512M", want: []string{`"1G" to "16T"`}},
		{option: "disk_size", value: "17T", want: []string{`"1G" to "16T"`}},
		{option: "backports", value: "true", with: map[string]any{"release": "bookworm"}, want: []string{"the backports of debian bookworm have no OpenVPN 2.7"}},
		{option: "disk_formats", value: []string{"raw", "vmdk"}, want: []string{`"vmdk"`, `"raw", "qcow2"`}},
		{option: "disk_size", value: "999999999T", want: []string{`"1G" to "16T"`}},
		{option: "output_directory", value: "/", want: []string{"folder of its own"}},
		{option: "output_directory", value: "build/..", want: []string{"folder of its own"}},
		{option: "output_directory", value: "../..", want: []string{"folder of its own"}},
		{option: "output_directory", value: "build/../..", want: []string{"folder of its own"}},
		{option: "output_directory", value: "/build/../", want: []string{"folder of its own"}},
		{option: "timeout", value: "30", want: []string{`"30"`, `"30m"`}},
		{option: "timeout", value: "-1m", want: []string{`"30m"`}},
		{option: "timeout", value: "59s", want: []string{`at least "1m"`}},
		{option: "timeout", value: "25h", want: []string{`"24h"`}},
	} {
		t.Run(tt.option+"="+strings.TrimSpace(strings.ReplaceAll(toString(tt.value), "/", "_")), func(t *testing.T) {
			options := map[string]any{tt.option: tt.value}
			for k, v := range tt.with {
				options[k] = v
			}
			_, err := prepare(t, options)
			if err == nil {
				t.Fatalf("accepted %s = %v", tt.option, tt.value)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a password: %v", err)
			}
			for _, want := range append(tt.want, "checking "+tt.option+": ") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}

func toString(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return strings.Join(v.([]string), ",")
}

// What stands beside what is refused.
func TestPrepareTakes(t *testing.T) {
	c, err := prepare(t, map[string]any{
		"mirror": "https://mirror:65535/debian/", "security_mirror": "http://192.0.2.1/security",
		"packages": []string{"g++", "libstdc++6"}, "output_directory": "../image", "timeout": "1m",
	})
	if err != nil || c.timeout != time.Minute {
		t.Errorf("%v, %v", c.timeout, err)
	}
}

// All that is wrong is told at once, in a fixed order.
func TestPrepareGathers(t *testing.T) {
	_, err := prepare(t, map[string]any{
		"distribution": "fedora", "release": "40", "architecture": "mips", "mirror": "x", "security_mirror": "y",
		"packages": []string{"A"}, "disk_size": "1", "output_directory": ".", "timeout": "soon",
	})
	var all *packersdk.MultiError
	if !errors.As(err, &all) {
		t.Fatalf("got %v", err)
	}
	var options []string
	for _, e := range all.Errors {
		options = append(options, strings.Split(strings.TrimPrefix(e.Error(), "checking "), ":")[0])
	}
	want := []string{"architecture", "disk_size", "distribution", "mirror", "output_directory", "packages", "release", "security_mirror", "timeout"}
	if !slices.Equal(options, want) {
		t.Errorf("got %v\nwant %v", options, want)
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"2G", "1024M", "16T", "", "0G", "99999999999T", "-1G", "1.5G"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseSize(s)
		if err == nil && (n < minDiskSize || n > maxDiskSize || n%mib != 0) {
			t.Errorf("parseSize(%q) = %d", s, n)
		}
	})
}
