// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && twice

package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// artifact is what the manifest of a bake says of it.
type artifact struct {
	folder   string
	Archives []struct {
		Name, Date, SHA256 string
	}
	Files []struct {
		Name, SHA256 string
	}
}

// TestBakeTwice bakes the repository's own image twice, in other folders, with
// another time zone, locale and umask, and compares the bytes (make bake-twice).
func TestBakeTwice(t *testing.T) {
	env := acceptance(t)
	parent := os.Getenv("VPNAMI_TWICE")
	if parent == "" {
		t.Fatal("VPNAMI_TWICE is to name the folder for the two images (make bake-twice)")
	}
	definition, err := filepath.Abs("../images/vpnami.pkr.hcl")
	if err != nil {
		t.Fatal(err)
	}
	first := baked(t, append(env, "TZ=UTC", "LANG=C"), definition, filepath.Join(parent, "first"))
	// The umask of a child is its parent's.
	before := syscall.Umask(0o077)
	second := baked(t, append(env, "TZ=Asia/Tokyo", "LANG=de_DE.UTF-8", "SOURCE_DATE_EPOCH=1"), definition, filepath.Join(parent, "other", "second"))
	syscall.Umask(before)

	if diff := gocmp.Diff(first.Archives, second.Archives); diff != "" {
		t.Fatalf("an archive was changed between the two bakes, which are of different packages then; do it again:\n%s", diff)
	}
	if len(first.Files) < 3 || len(first.Files) != len(second.Files) {
		t.Fatalf("the files are %v and %v", first.Files, second.Files)
	}
	for i, f := range first.Files {
		t.Logf("%-12s %s", f.Name, f.SHA256)
		if f != second.Files[i] {
			t.Errorf("%-12s %s", second.Files[i].Name, second.Files[i].SHA256)
		}
	}
	if t.Failed() {
		t.Log(cmp.Or(differenceOfRoots(t, first, second), differenceOfDisks(t, first, second)))
	}
}

func baked(t *testing.T, env []string, definition, folder string) artifact {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(need(t, "packer"), "build", "-force", "-color=false", "-var", "output_directory="+folder,
		"-var", `disk_formats=["raw", "qcow2"]`, definition)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(folder, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	a := artifact{folder: folder}
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// differenceOfRoots names the first path of root.tar that differs, and how.
func differenceOfRoots(t *testing.T, a, b artifact) string {
	t.Helper()
	var readers [2]*tar.Reader
	for i, folder := range []string{a.folder, b.folder} {
		f, err := os.Open(filepath.Join(folder, "root.tar"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		readers[i] = tar.NewReader(bufio.NewReaderSize(f, 1<<20))
	}
	for {
		var headers [2]*tar.Header
		var contents [2][]byte
		for i, r := range readers {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				h, err = &tar.Header{Name: "(the end)"}, nil
			}
			if err != nil {
				t.Fatal(err)
			}
			headers[i] = h
			if contents[i], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
		x, y := headers[0], headers[1]
		switch {
		case x.Name != y.Name:
			return fmt.Sprintf("root.tar: %s stands where %s does", x.Name, y.Name)
		case gocmp.Diff(x, y) != "":
			return fmt.Sprintf("root.tar: %s differs:\n%s", x.Name, gocmp.Diff(x, y))
		case !bytes.Equal(contents[0], contents[1]):
			at := 0
			for at < min(len(contents[0]), len(contents[1])) && contents[0][at] == contents[1][at] {
				at++
			}
			around := func(data []byte) []byte { return data[max(0, at-40):min(len(data), at+40)] }
			return fmt.Sprintf("root.tar: %s differs at byte %d: %q, %q", x.Name, at, around(contents[0]), around(contents[1]))
		case x.Name == "(the end)":
			return ""
		}
	}
}

// differenceOfDisks names the first byte of disk.raw that differs, and the file of
// the root that it is in.
func differenceOfDisks(t *testing.T, a, b artifact) string {
	t.Helper()
	x, y := filepath.Join(a.folder, "disk.raw"), filepath.Join(b.folder, "disk.raw")
	out, _ := exec.Command("cmp", x, y).CombinedOutput() // its status says that they differ
	found := regexp.MustCompile(`byte (\d+)`).FindSubmatch(out)
	if found == nil {
		return "disk.raw: " + string(out)
	}
	byteAt, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// The layout of plugin/bootstrap/disk.go.
	const root, block = 128 << 20, 4096
	if byteAt < root {
		return fmt.Sprintf("disk.raw differs at byte %d, in the partition table or the boot partition", byteAt)
	}
	device := fmt.Sprintf("%s?offset=%d", x, root)
	where, _ := exec.Command("debugfs", "-R", fmt.Sprintf("icheck %d", (byteAt-root)/block), device).Output()
	if fields := bytes.Fields(where); len(fields) > 0 {
		if inode := string(fields[len(fields)-1]); inode != "found" {
			path, _ := exec.Command("debugfs", "-R", "ncheck "+inode, device).Output()
			where = append(where, path...)
		}
	}
	return fmt.Sprintf("disk.raw differs at byte %d, in block %d of the root:\n%s", byteAt, (byteAt-root)/block, where)
}

// The first path that differs is named, whatever of it differs.
func TestDifferenceOfRoots(t *testing.T) {
	root := func(headers ...*tar.Header) artifact {
		a := artifact{folder: t.TempDir()}
		f, err := os.Create(filepath.Join(a.folder, "root.tar"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w := tar.NewWriter(f)
		for _, h := range headers {
			data := h.Linkname // the content of a file, here
			h.Typeflag, h.Size, h.Linkname = tar.TypeReg, int64(len(data)), ""
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return a
	}
	entry := func(name, data string, mode int64) *tar.Header {
		return &tar.Header{Name: name, Linkname: data, Mode: mode, ModTime: time.Unix(1, 0)}
	}
	one := func() artifact { return root(entry("a", "same", 0o644), entry("b", "one", 0o644)) }
	for want, other := range map[string]artifact{
		"":                               one(),
		`root.tar: b differs at byte 0`:  root(entry("a", "same", 0o644), entry("b", "two", 0o644)),
		`root.tar: b differs:`:           root(entry("a", "same", 0o644), entry("b", "one", 0o600)),
		`root.tar: b stands where aa do`: root(entry("a", "same", 0o644), entry("aa", "", 0o644), entry("b", "one", 0o644)),
		`root.tar: b stands where (the`:  root(entry("a", "same", 0o644)),
	} {
		if got := differenceOfRoots(t, one(), other); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
