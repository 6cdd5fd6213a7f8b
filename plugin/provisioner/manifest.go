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
	Schema int `json:"schema"`
	// ID is of all that follows: two images with the same one are made of the
	// same packages and files. "vpnami-firstboot status" shows it.
	ID     string  `json:"id"`
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
	// Source and SourceVersion are of the package's source, where they are others.
	Source        string `json:"source,omitempty"`
	SourceVersion string `json:"source_version,omitempty"`
}

// manifestOf gathers what is known before the guest is asked.
// What the builder has laid down, vpnami-bootstrap's base files, comes with its data.
func manifestOf(b Build, f facts, tree []rootfs.Entry, generated map[string]any) (manifest, error) {
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
	var base []entry
	if told := text("BaseFiles"); told != "" {
		if err := json.Unmarshal([]byte(told), &base); err != nil {
			return m, fmt.Errorf("reading which base files the builder has laid down: %w", err)
		}
	}
	for _, e := range base {
		if !slices.ContainsFunc(m.Files, func(own entry) bool { return own.Path == e.Path }) {
			m.Files = append(m.Files, e)
		}
	}
	slices.SortFunc(m.Files, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	return m, nil
}

// The folder of the image that both are left in.
const provenanceFolder = "/usr/share/vpnami"

// provenance is what is told of an image, as the bytes that are left in it.
type provenance struct{ manifest, sbom []byte }

// leaveProvenance puts the manifest and the SBOM into the image.
func leaveProvenance(ctx context.Context, g *guest, m manifest, tree []rootfs.Entry) (provenance, error) {
	var p provenance
	m, err := takePackages(ctx, g, m)
	if err != nil {
		return p, err
	}
	if p.manifest, err = m.encode(); err != nil {
		return p, err
	}
	if p.sbom, err = sbom(m, tree); err != nil {
		return p, err
	}
	if err := leave(ctx, g, "manifest.json", p.manifest); err != nil {
		return p, err
	}
	return p, leave(ctx, g, "sbom.cdx.json", p.sbom)
}

// takePackages asks the guest for its packages and completes the manifest.
func takePackages(ctx context.Context, g *guest, m manifest) (manifest, error) {
	list, err := g.ask(ctx, `dpkg-query --show --showformat='${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\t${db:Status-Status}\n'`)
	if err != nil {
		return m, fmt.Errorf("asking for the image's packages: %w", err)
	}
	if m.Packages, err = parsePackages(list); err != nil {
		return m, err
	}
	m.ID = ""
	data, err := m.encode()
	if err != nil {
		return m, err
	}
	sum := sha256.Sum256(data)
	m.ID = hex.EncodeToString(sum[:6])
	g.note(fmt.Sprintf("image %s: %d packages, %d files of ours", m.ID, len(m.Packages), len(m.Files)))
	return m, nil
}

// leave puts a file that tells of the image into it.
func leave(ctx context.Context, g *guest, name string, data []byte) error {
	upload := path.Join(g.dir, name)
	if err := g.comm.Upload(upload, bytes.NewReader(data), nil); err != nil {
		return fmt.Errorf("uploading the image's %s: %w", name, err)
	}
	if _, err := g.ask(ctx, g.sudo+"install -D -o root -g root -m 0644 "+quote(upload)+" "+quote(path.Join(provenanceFolder, name))); err != nil {
		return fmt.Errorf("putting %s into the image: %w", name, err)
	}
	return nil
}

// parsePackages reads dpkg-query's lines of six fields.
func parsePackages(list string) ([]dpkgPackage, error) {
	var all []dpkgPackage
	for line := range strings.Lines(list) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(f) != 6 || f[0] == "" {
			return nil, fmt.Errorf("reading the image's packages: the line %q has not six fields", line)
		}
		if f[5] != "installed" {
			continue
		}
		p := dpkgPackage{Name: f[0], Version: f[1], Architecture: f[2]}
		if f[3] != p.Name {
			p.Source = f[3]
		}
		if f[4] != p.Version {
			p.Source, p.SourceVersion = f[3], f[4]
		}
		all = append(all, p)
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

// save writes a file on the host, if it is wanted there: whole or not at all.
func save(option, path string, data []byte) error {
	if path == "" {
		return nil
	}
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
		return fmt.Errorf("writing %s %q: %w", option, path, err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing %s %q: %w", option, path, err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("writing %s %q: %w", option, path, err)
	}
	return nil
}
