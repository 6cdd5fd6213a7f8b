// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
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

// sample has one of each kind.
func sample() []rootfs.Entry {
	return []rootfs.Entry{
		{Path: "/etc/x/conf", Mode: 0o640, Owner: "root", Group: "vpnami-openvpn", Data: []byte("a\n")},
		{Path: "/etc/x/link", Mode: fs.ModeSymlink | 0o777, Owner: "root", Group: "root", Target: "/var/lib/x"},
		{Path: "/usr/sbin/tool", Mode: 0o755, Owner: "root", Group: "root", Data: []byte("program")},
		{Path: "/var/lib/x", Mode: fs.ModeDir | 0o750, Owner: "root", Group: "root"},
	}
}

func TestTreeTar(t *testing.T) {
	data, err := treeTar(sample())
	if err != nil {
		t.Fatal(err)
	}
	again, err := treeTar(sample())
	if err != nil || !bytes.Equal(data, again) {
		t.Error("the same tree gives other bytes")
	}
	var out strings.Builder
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%c %04o %s:%s %d %s -> %q %q\n", h.Typeflag, h.Mode, h.Uname, h.Gname, h.ModTime.Unix(), h.Name, h.Linkname, body)
	}
	golden(t, "tree.golden", out.String())

	if _, err := treeTar([]rootfs.Entry{{Path: "/run/pipe", Mode: fs.ModeNamedPipe}}); err == nil || !strings.Contains(err.Error(), `"/run/pipe"`) {
		t.Errorf("a pipe was packed: %v", err)
	}
}

func TestManifest(t *testing.T) {
	m := mustManifest(t, Build{Version: "0.1.0", Commit: "abc"}, facts{OS: "Debian GNU/Linux 13 (trixie)", ID: "debian", VersionID: "13", Architecture: "amd64"}, sample(),
		map[string]any{"SourceAMI": "ami-0123456789abcdef0", "SourceAMIName": "Build_SourceAMIName. To set this dynamically...", "Port": 22})
	var err error
	m.Packages, err = parsePackages("zlib1g\t1:1.3+b1\tamd64\tzlib\t1:1.3\tinstalled\nopenvpn\t2.6.14\tamd64\topenvpn\t2.6.14\tinstalled\nufw\t0.36\tall\tufw\t0.36\tconfig-files\n")
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "manifest.golden", string(data))

	path := filepath.Join(t.TempDir(), "m.json")
	if err := save("manifest_path", path, data); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Error("what is saved on the host is not the manifest")
	}
	if err := save("manifest_path", filepath.Join(path, "x"), data); err == nil || !strings.Contains(err.Error(), "manifest_path") {
		t.Errorf("saved below a file: %v", err)
	}
}

func FuzzParsePackages(f *testing.F) {
	f.Add("openvpn\t2.6\tamd64\topenvpn\t2.6\tinstalled\n")
	f.Add("a\tb\tc\n")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parsePackages(s)
		for _, p := range all {
			if err == nil && p.Name == "" {
				t.Errorf("a package without a name in %q", s)
			}
		}
	})
}

func TestWithProgram(t *testing.T) {
	have := fstest.MapFS{"programs/vpnami-firstboot_linux_arm64": {Data: []byte("ELF")}}
	tree, err := withProgram(sample(), have, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	var found bool
	for i, e := range tree {
		if i > 0 && tree[i-1].Path >= e.Path {
			t.Errorf("%q stands before %q", tree[i-1].Path, e.Path)
		}
		found = found || e.Path == programPath && e.Mode == 0o755 && string(e.Data) == "ELF" && e.Owner == "root"
	}
	if !found {
		t.Errorf("%s is not in the tree", programPath)
	}
	if _, err := withProgram(sample(), have, "amd64"); err == nil || !strings.Contains(err.Error(), `"make build"`) {
		t.Errorf("a plugin built without the program: %v", err)
	}
	if _, err := withProgram(sample(), have, "riscv64"); err == nil || !strings.Contains(err.Error(), `"riscv64"`) {
		t.Errorf("an unknown architecture: %v", err)
	}
}

// The real tree is laid down whole, and everything of it is in the manifest.
func TestRealTree(t *testing.T) {
	tree, err := rootfs.Tree()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := treeTar(tree); err != nil {
		t.Fatal(err)
	}
	m := mustManifest(t, Build{}, facts{}, tree, nil)
	if len(m.Files) != len(tree) || len(tree) < 10 {
		t.Errorf("%d files in the manifest, %d in the tree", len(m.Files), len(tree))
	}
}

func mustManifest(t *testing.T, b Build, f facts, tree []rootfs.Entry, generated map[string]any) manifest {
	t.Helper()
	m, err := manifestOf(b, f, tree, generated)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestManifestHasTheBuildersFiles: what vpnami-bootstrap has laid down is ours as well,
// and what the provisioner has put in its place counts.
func TestManifestHasTheBuildersFiles(t *testing.T) {
	tree := []rootfs.Entry{{Path: "/etc/b", Data: []byte("ours"), Mode: 0o600, Owner: "root", Group: "root"}}
	base := `[{"path":"/etc/b","mode":"0644","owner":"root","group":"root","sha256":"00"},{"path":"/etc/a","mode":"0644","owner":"root","group":"root","sha256":"01"}]`
	m := mustManifest(t, Build{}, facts{}, tree, map[string]any{"BaseFiles": base})
	if len(m.Files) != 2 || m.Files[0].Path != "/etc/a" || m.Files[0].SHA256 != "01" || m.Files[1].Mode != "0600" {
		t.Errorf("files: %+v", m.Files)
	}
	if _, err := manifestOf(Build{}, facts{}, tree, map[string]any{"BaseFiles": "{"}); err == nil {
		t.Error("half a list is taken")
	}
}
