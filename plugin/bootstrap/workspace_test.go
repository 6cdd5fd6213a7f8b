// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPublish(t *testing.T) {
	dir := t.TempDir()
	out, to := filepath.Join(dir, "work", "out"), filepath.Join(dir, "image")
	write(t, filepath.Join(out, "root.tar"), "new")
	write(t, filepath.Join(to, "root.tar"), "old")

	if err := publish(out, to, false); err == nil || !strings.Contains(err.Error(), "packer build -force") {
		t.Fatalf("an image is there already: %v", err)
	}
	if got, _ := os.ReadFile(filepath.Join(to, "root.tar")); string(got) != "old" {
		t.Fatalf("the earlier image was touched: %q", got)
	}
	if err := publish(out, to, true); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(to, "root.tar")); string(got) != "new" {
		t.Errorf("got %q", got)
	}
	// The earlier one is in the work folder, which the bake removes.
	if got, _ := os.ReadFile(filepath.Join(out, "root.tar")); string(got) != "old" {
		t.Errorf("the earlier image: %q", got)
	}
	// On a file system that cannot exchange.
	if err := renameBySteps(out, to); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(to, "root.tar")); string(got) != "old" {
		t.Errorf("got %q", got)
	}
	write(t, filepath.Join(dir, "file"), "")
	if err := publish(to, filepath.Join(dir, "file", "image"), true); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("into a file: %v", err)
	}
}

// What a killed bake left is removed; what a living one is at work in is not.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	dead, alive, other := filepath.Join(dir, ".image.partial-1"), filepath.Join(dir, ".image.partial-2"), filepath.Join(dir, "image")
	for _, d := range []string{dead, alive, other} {
		write(t, filepath.Join(d, "x"), "x")
	}
	lock, err := lockFolder(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := sweep(dir, ".image.partial-", func(s string) { t.Log(s) }); err != nil {
		t.Fatal(err)
	}
	for d, want := range map[string]bool{dead: false, alive: true, other: true} {
		if _, err := os.Stat(d); (err == nil) != want {
			t.Errorf("%s is there: %t", d, err == nil)
		}
	}
}

// The base files replace links of the packages, and never follow them out of the
// image.
func TestLayBase(t *testing.T) {
	root, outside := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	write(t, outside, "untouched")
	write(t, filepath.Join(root, "etc", "resolv.conf"), "nameserver 192.0.2.1")
	write(t, filepath.Join(root, "etc", ".resolv.conf.systemd-resolved.bak"), "nameserver 192.0.2.1")
	if err := os.Symlink(outside, filepath.Join(root, "etc", "hostname")); err != nil {
		t.Fatal(err)
	}
	c, err := prepare(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "usr/lib/systemd/system/cloud-init-local.service"),
		"[Unit]\nWants=network-pre.target\nBefore=network-pre.target\nBefore=shutdown.target\n")
	files, err := layBase(root, newDisk(c))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(root, f.Path))
		if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != f.SHA256 {
			t.Errorf("%s is told with another hash, %v", f.Path, err)
		}
		told = append(told, f.Path)
	}
	if slices.Contains(told, "/"+policyFile) || !slices.Contains(told, "/etc/fstab") || !slices.Contains(told, "/etc/systemd/system/cloud-init-local.service") || len(told) < 10 {
		t.Errorf("told %q", told)
	}
	if got, _ := os.ReadFile(outside); string(got) != "untouched" {
		t.Errorf("a link was followed out of the image: %q", got)
	}
	if got, _ := os.ReadFile(filepath.Join(root, "etc", "hostname")); string(got) != "localhost\n" {
		t.Errorf("hostname: %q", got)
	}
	if got, _ := os.Readlink(filepath.Join(root, "etc", "resolv.conf")); got != "../run/systemd/resolve/stub-resolv.conf" {
		t.Errorf("resolv.conf: %q", got)
	}
	if _, err := os.Lstat(filepath.Join(root, "etc", ".resolv.conf.systemd-resolved.bak")); err == nil {
		t.Error("the host's name servers are in the image")
	}
	if got, _ := os.ReadFile(filepath.Join(root, policyFile)); string(got) != policy {
		t.Errorf("policy-rc.d during the bake: %q", got)
	}
	unit, err := os.ReadFile(filepath.Join(root, "etc/systemd/system/cloud-init-local.service"))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(unit); strings.Contains(text, "network-pre") || !strings.Contains(text, "Before=shutdown.target") {
		t.Errorf("cloud-init's first stage is\n%s\nwant the distribution's without its place before the network", text)
	}
	write(t, filepath.Join(root, "run", "lock", "subsys"), "x")
	write(t, filepath.Join(root, "tmp", "x"), "x")
	if err := sealRoot(root); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"run", "tmp"} {
		if left, err := os.ReadDir(filepath.Join(root, dir)); err != nil || len(left) != 0 {
			t.Errorf("/%s has %v, %v", dir, left, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(root, policyFile)); err == nil {
		t.Error("policy-rc.d is left in the image")
	}
}
