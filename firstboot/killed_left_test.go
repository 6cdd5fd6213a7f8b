// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// What a killed run may leave, and what must be there after the next.

// litter leaves what a crash in the middle of each kind of write leaves.
func (g *gateway) litter() {
	g.t.Helper()
	for _, folder := range []string{g.machine.layout.state(), g.machine.layout.rules(), filepath.Join(g.machine.layout.generations(), tempPrefix+"7", "probe")} {
		put(g.t, folder, tempPrefix+"123", "-----BEGIN PRIVATE KEY-----\n")
	}
	if err := os.Symlink("generations/9", filepath.Join(g.machine.layout.state(), tempPrefix+"current")); err != nil {
		g.t.Fatal(err)
	}
}

// isClean: one generation, and neither a key outside it nor anything unfinished.
func (g *gateway) isClean() {
	g.t.Helper()
	entries, err := os.ReadDir(g.machine.layout.generations())
	if err != nil || len(entries) != 1 {
		g.t.Errorf("left: %v, %v", entries, err)
	}
	for _, path := range names(g.machine.layout.root) {
		if strings.HasPrefix(filepath.Base(path), tempPrefix) {
			g.t.Errorf("left: %s", path)
		}
		data, _ := os.ReadFile(path)
		if len(entries) > 0 && strings.Contains(string(data), "PRIVATE KEY") && !strings.HasPrefix(path, filepath.Join(g.machine.layout.generations(), entries[0].Name())+"/") {
			g.t.Errorf("a key is left in %s", path)
		}
	}
}

// isWhole: what is in force, if anything, has every file as its record says; it
// is the generation that was before, or what is published.
func (g *gateway) isWhole(old generation) {
	g.t.Helper()
	link := g.machine.layout.current()
	if _, err := os.Lstat(link); err != nil {
		return // nothing yet
	}
	now, ok := g.machine.store.read(link)
	if !ok {
		// What was another instance's is wiped, the links last.
		if strings.Contains(g.cloud.metadata["dynamic/instance-identity/document"], old.Instance) {
			g.t.Fatal("what is in force has no record")
		}
		return
	}
	if now.Name == old.Name {
		if now.Files != old.Files {
			g.t.Errorf("the generation before is not as it was: %s", cmp.Diff(old.record, now.record))
		}
		return
	}
	instance := launched(g.cloud.metadata["user-data"])
	config, err := configure(instance)
	if err != nil {
		g.t.Fatal(err)
	}
	var published bundle.Bundle
	if config.Role == RoleVPN {
		published = g.published()
	}
	files, err := render(config, published, g.machine.placement, instance)
	if err != nil {
		g.t.Fatal(err)
	}
	if !g.machine.store.whole(now, files) {
		g.t.Errorf("generation %s is not whole: %s", now.Name, strings.Join(names(g.machine.store.folder(now)), " "))
	}
}

func names(folder string) []string {
	var found []string
	_ = filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		found = append(found, path)
		return err
	})
	return found
}

// published is what the secrets hold.
func (g *gateway) published() bundle.Bundle {
	g.t.Helper()
	names := SecretNames{Server: "vpn/office/server", Access: "vpn/office/access"}
	b, _, err := unseal(g.t.Context(), g.program().services("ap-northeast-1").secrets, names, time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}
