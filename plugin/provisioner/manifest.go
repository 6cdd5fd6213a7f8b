// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

// manifest tells what the image is made of. It has no time in it: the same inputs
// give the same manifest.
type manifest struct {
	Schema int     `json:"schema"`
	VPNAMI Build   `json:"vpnami"`
	Source source  `json:"source"`
	Files  []entry `json:"files"`
	// Packages is what dpkg says is installed.
	Packages []dpkgPackage `json:"packages"`
}

// source is what the image was made of.
type source struct {
	facts
	// Image is the source AMI where there is one.
	Image     string `json:"image,omitempty"`
	ImageName string `json:"image_name,omitempty"`
}

// entry is a file, folder or link that was laid down.
type entry struct {
	Path   string `json:"path"`
	Mode   string `json:"mode"`
	Owner  string `json:"owner"`
	Group  string `json:"group"`
	SHA256 string `json:"sha256,omitempty"`
	Target string `json:"target,omitempty"`
}

type dpkgPackage struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
}

// manifestOf gathers what is known before the guest is asked.
func manifestOf(b Build, f facts, tree []rootfs.Entry, generated map[string]any) manifest {
	text := func(key string) string {
		s, _ := generated[key].(string)
		// Packer fills in this sentence for data that a builder does not have.
		if strings.HasPrefix(s, "Build_") || strings.Contains(s, "no value") {
			return ""
		}
		return s
	}
	m := manifest{Schema: 1, VPNAMI: b, Source: source{facts: f, Image: text("SourceAMI"), ImageName: text("SourceAMIName")}}
	for _, e := range tree {
		n := entry{Path: e.Path, Mode: fmt.Sprintf("%04o", e.Mode.Perm()), Owner: e.Owner, Group: e.Group, Target: e.Target}
		if e.Mode.Type() == 0 {
			sum := sha256.Sum256(e.Data)
			n.SHA256 = hex.EncodeToString(sum[:])
		}
		if e.Mode.Type() == fs.ModeSymlink {
			n.Mode = "" // a link has none
		}
		m.Files = append(m.Files, n)
	}
	return m
}

// leaveManifest asks for the packages and puts the manifest into the image.
func leaveManifest(ctx context.Context, g *guest, m manifest) (manifest, error) {
	list, err := g.ask(ctx, `dpkg-query --show --showformat='${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n'`)
	if err != nil {
		return m, fmt.Errorf("asking for the image's packages: %w", err)
	}
	if m.Packages, err = parsePackages(list); err != nil {
		return m, err
	}
	data, err := m.encode()
	if err != nil {
		return m, err
	}
	upload := path.Join(g.dir, "manifest.json")
	if err := g.comm.Upload(upload, bytes.NewReader(data), nil); err != nil {
		return m, fmt.Errorf("uploading the image's manifest: %w", err)
	}
	if _, err := g.ask(ctx, g.sudo+"install -D -o root -g root -m 0644 "+quote(upload)+" /usr/share/vpnami/manifest.json"); err != nil {
		return m, fmt.Errorf("putting the manifest into the image: %w", err)
	}
	g.note(fmt.Sprintf("%d packages, %d files of ours", len(m.Packages), len(m.Files)))
	return m, nil
}

// parsePackages reads dpkg-query's lines of four fields.
func parsePackages(list string) ([]dpkgPackage, error) {
	var all []dpkgPackage
	for line := range strings.Lines(list) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(f) != 4 || f[0] == "" {
			return nil, fmt.Errorf("reading the image's packages: the line %q has not four fields", line)
		}
		if f[3] == "installed" {
			all = append(all, dpkgPackage{Name: f[0], Version: f[1], Architecture: f[2]})
		}
	}
	slices.SortFunc(all, func(a, b dpkgPackage) int {
		return strings.Compare(a.Name+":"+a.Architecture, b.Name+":"+b.Architecture)
	})
	return all, nil
}

func (m manifest) encode() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	return append(data, '\n'), nil
}

// saveManifest writes the manifest on the host, if it is wanted there: whole or
// not at all.
func saveManifest(path string, m manifest) error {
	if path == "" {
		return nil
	}
	data, err := m.encode()
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("writing manifest_path %q: %w", path, err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing manifest_path %q: %w", path, err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("writing manifest_path %q: %w", path, err)
	}
	return nil
}
