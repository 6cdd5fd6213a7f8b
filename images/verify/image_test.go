// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab

package verify

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

// TestImageHoldsNoSecret reads every file of the image as it lies in the
// artifact, by rules of its own: the image's own check must not be what judges it.
func TestImageHoldsNoSecret(t *testing.T) {
	entries := readImage(t)
	if len(entries) < 1000 {
		t.Fatalf("the image has only %d entries: this reads the wrong thing", len(entries))
	}
	for _, e := range entries {
		if why := secretIn(e); why != "" {
			t.Errorf("%s: %s", e.path, why)
		}
	}
	t.Run("and would be caught if it did", func(t *testing.T) {
		for _, planted := range []entry{
			{path: "/root/key.pem", data: []byte("-----BEGIN EC PRIVATE KEY-----\nMHc\n")},
			{path: "/etc/openvpn/server/ta.key", data: []byte("-----BEGIN OpenVPN Static key V1-----\n")},
			{path: "/etc/ssh/ssh_host_ed25519_key", data: []byte("x")},
			{path: "/etc/machine-id", data: []byte("0123456789abcdef0123456789abcdef\n")},
			{path: "/etc/shadow", data: []byte("root:*:1::::::\nubuntu:$y$j9T$abc$def:1::::::\n")},
			{path: "/etc/shadow", data: []byte("root::1::::::\n")},
			{path: "/home/debian/.ssh/authorized_keys", data: []byte("ssh-ed25519 AAAA packer\n")},
			{path: "/var/lib/vpnami/result.json", data: []byte("{}")},
		} {
			if secretIn(planted) == "" {
				t.Errorf("%s with %q passes", planted.path, planted.data)
			}
		}
	})
}

// TestImageHoldsWhatIsLaidDown: each file is there as the repository has it,
// with the mode and owner of the manifest.
func TestImageHoldsWhatIsLaidDown(t *testing.T) {
	image := map[string]entry{}
	for _, e := range readImage(t) {
		image[e.path] = e
	}
	tree, err := rootfs.Tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range tree {
		got, ok := image[want.Path]
		switch {
		case !ok:
			t.Errorf("%s is not in the image", want.Path)
		case want.Mode&fs.ModeSymlink != 0:
			if got.target != want.Target {
				t.Errorf("%s points to %q, want %q", want.Path, got.target, want.Target)
			}
		case got.mode.Perm() != want.Mode.Perm():
			t.Errorf("%s has mode %v, want %v", want.Path, got.mode.Perm(), want.Mode.Perm())
		case got.uid != 0 || got.gid != 0:
			t.Errorf("%s belongs to %d:%d, want root", want.Path, got.uid, got.gid)
		case !bytes.Equal(got.data, want.Data):
			t.Errorf("%s is not what the repository has", want.Path)
		}
	}
	if e := image["/usr/sbin/vpnami-firstboot"]; e.mode.Perm() != 0o755 || !bytes.HasPrefix(e.data, []byte("\x7fELF")) {
		t.Errorf("/usr/sbin/vpnami-firstboot is no program (mode %v)", e.mode)
	}
}

// TestImageManifestIsTrue: what the manifest in the image says of each file is so,
// those of the disk's base among them.
func TestImageManifestIsTrue(t *testing.T) {
	image := map[string]entry{}
	for _, e := range readImage(t) {
		image[e.path] = e
	}
	var manifest struct {
		Files []struct{ Path, Mode, SHA256, Target string }
	}
	if err := json.Unmarshal(image["/usr/share/vpnami/manifest.json"].data, &manifest); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, f := range manifest.Files {
		got, ok := image[f.Path]
		sum := sha256.Sum256(got.data)
		switch {
		case !ok:
			t.Errorf("%s is not in the image", f.Path)
		case f.Target != got.target:
			t.Errorf("%s points to %q, and the manifest says %q", f.Path, got.target, f.Target)
		case f.SHA256 != "" && (f.SHA256 != hex.EncodeToString(sum[:]) || f.Mode != fmt.Sprintf("%04o", got.mode.Perm())):
			t.Errorf("%s is not what the manifest says", f.Path)
		}
		told[f.Path] = true
	}
	for _, path := range []string{"/usr/sbin/vpnami-firstboot", "/etc/fstab", "/usr/lib/python3/dist-packages/DataSourceVpnami.py"} {
		if !told[path] {
			t.Errorf("%s is not in the manifest", path)
		}
	}
}

// mostUsed is the disk that an image may take, the kernel and the boot partition
// included.
const mostUsed = 600 << 20

// TestImageIsSmall counts what the files of the image take on a disk.
func TestImageIsSmall(t *testing.T) {
	const block = 4096 // of ext4; a link of less than 60 bytes takes none
	folders := map[string]int64{}
	var used int64
	for _, e := range readImage(t) {
		size := (int64(len(e.data)) + block - 1) / block * block
		if e.mode.IsDir() {
			size = block
		}
		used += size
		top := strings.Join(strings.SplitN(e.path, "/", 4)[:min(3, strings.Count(e.path, "/")+1)], "/")
		folders[top] += size
		// The boot partition has the kernel, its initrd and the loader once more.
		if strings.HasPrefix(e.path, "/boot/vmlinuz-") || strings.HasPrefix(e.path, "/boot/initrd.img-") {
			used += size
		}
	}
	t.Logf("%d MiB are used, of %d", used>>20, mostUsed>>20)
	largest := slices.SortedFunc(maps.Keys(folders), func(a, b string) int { return cmp.Compare(folders[b], folders[a]) })
	for _, name := range largest[:8] {
		t.Logf("%6d MiB %s", folders[name]>>20, name)
	}
	if used < 100<<20 {
		t.Error("so little is no image: this reads the wrong thing")
	}
	if used > mostUsed {
		t.Errorf("%d MiB are used, at most %d are wanted", used>>20, mostUsed>>20)
	}
}

type entry struct {
	path     string
	mode     fs.FileMode
	uid, gid int
	target   string
	data     []byte
}

func readImage(t *testing.T) []entry {
	t.Helper()
	f, err := os.Open(filepath.Join(os.Getenv("VPNAMI_IMAGE"), "root.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var entries []entry
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{
			path: path.Join("/", h.Name), mode: h.FileInfo().Mode(), uid: h.Uid, gid: h.Gid, target: h.Linkname, data: data,
		})
	}
}

var (
	// The armour itself, with its end of line: programs that read keys carry
	// the words without it.
	privateKey = regexp.MustCompile(`-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----\r?\n[A-Za-z0-9+/=]`)
	tunnelKey  = regexp.MustCompile(`-----BEGIN OpenVPN (Static key V1|tls-crypt-v2 (server|client) key)-----`)
	hostKey    = regexp.MustCompile(`^/etc/ssh/ssh_host_.*_key(\.pub)?$`)
)

// secretIn tells what of an entry has no place in an image that many instances
// are launched from, or nothing.
func secretIn(e entry) string {
	switch {
	case e.mode.IsDir() || e.mode&fs.ModeSymlink != 0:
		return ""
	case hostKey.MatchString(e.path):
		return "a host key that all instances would share"
	case strings.Contains(e.path, "/.ssh/authorized_keys") && len(bytes.TrimSpace(e.data)) > 0:
		return "somebody's key lets her in everywhere"
	case e.path == "/etc/machine-id":
		if id := strings.TrimSpace(string(e.data)); id != "" && id != "uninitialized" {
			return "an identity that all instances would share"
		}
	case e.path == "/etc/shadow" || e.path == "/etc/shadow-":
		return passwordIn(e.data)
	case strings.HasPrefix(e.path, "/var/lib/vpnami/"):
		return "the state of an instance"
	case bytes.HasPrefix(e.data, []byte("\x7fELF")):
		return "" // a library of cryptography carries keys to test itself with
	case privateKey.Match(e.data):
		return "a private key"
	case tunnelKey.Match(e.data):
		return "a key of the tunnel"
	}
	return ""
}

func passwordIn(shadow []byte) string {
	for line := range strings.Lines(string(shadow)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) > 1 && !slices.Contains([]string{"*", "!", "!!", "!*"}, fields[1]) {
			return "a password of " + fields[0] + ", or none at all"
		}
	}
	return ""
}
