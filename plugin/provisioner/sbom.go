// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
	"github.com/package-url/packageurl-go"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

// sbom tells what the image is made of in the form that scanners read: CycloneDX
// 1.6, in JSON. It has the distribution's packages, the files of the manifest,
// and, within our own program, the Go modules that it was built from. As the
// manifest, it has no time in it: the same inputs give the same bytes.
func sbom(m manifest, tree []rootfs.Entry) ([]byte, error) {
	image := cyclonedx.Component{
		BOMRef: "image", Type: cyclonedx.ComponentTypeOS, Name: "vpnami-image", Version: m.VPNAMI.Version,
		Description: "VPN gateway and bastion, made of " + m.Source.OS,
		Properties: properties(
			"vpnami:commit", m.VPNAMI.Commit, "vpnami:image", m.ID, "vpnami:architecture", m.Source.Architecture,
			"vpnami:source_image", m.Source.Image, "vpnami:source_image_name", m.Source.ImageName,
		),
	}
	components := []cyclonedx.Component{{
		BOMRef: "distribution", Type: cyclonedx.ComponentTypeOS, Name: m.Source.ID, Version: m.Source.VersionID, Description: m.Source.OS,
	}}
	for _, p := range m.Packages {
		components = append(components, packageComponent(m.Source.ID, m.Source.VersionID, p))
	}
	programs, err := modules(tree)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if f.SHA256 == "" {
			continue // folders and links: there is nothing in them that could be hashed
		}
		components = append(components, fileComponent(f, programs[f.Path]))
	}
	refs := make([]string, len(components))
	for i, c := range components {
		refs[i] = c.BOMRef
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{
		Component: &image,
		Tools: &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{{
			Type: cyclonedx.ComponentTypeApplication, Name: "packer-plugin-vpnami", Version: m.VPNAMI.Version,
		}}},
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: image.BOMRef, Dependencies: &refs}}
	encoded, err := encodeBOM(bom)
	if err != nil {
		return nil, err
	}
	// The document is named by what stands in it.
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, encoded).URN()
	return encodeBOM(bom)
}

func encodeBOM(bom *cyclonedx.BOM) ([]byte, error) {
	var out bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("writing the SBOM: %w", err)
	}
	return out.Bytes(), nil
}

// packageComponent names a package as Debian's advisories do, which are of source
// packages: https://github.com/package-url/purl-spec/blob/main/types-doc/deb-definition.md
func packageComponent(distribution, release string, p dpkgPackage) cyclonedx.Component {
	qualifiers := map[string]string{"arch": p.Architecture, "distro": distribution + "-" + release}
	if p.Source != "" {
		qualifiers["upstream"] = p.Source
		if p.SourceVersion != "" {
			qualifiers["upstream"] += "@" + p.SourceVersion
		}
	}
	url := packageurl.NewPackageURL(packageurl.TypeDebian, distribution, p.Name, p.Version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
	return cyclonedx.Component{BOMRef: url, Type: cyclonedx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: url}
}

func fileComponent(f entry, parts []cyclonedx.Component) cyclonedx.Component {
	c := cyclonedx.Component{
		BOMRef: "file:" + f.Path, Type: cyclonedx.ComponentTypeFile, Name: f.Path,
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: f.SHA256}},
		Properties: properties("vpnami:mode", f.Mode, "vpnami:owner", f.Owner, "vpnami:group", f.Group),
	}
	if parts != nil {
		c.Components = &parts
	}
	return c
}

// modules are the Go modules in each program of the tree, by its path.
func modules(tree []rootfs.Entry) (map[string][]cyclonedx.Component, error) {
	all := map[string][]cyclonedx.Component{}
	for _, e := range tree {
		if !bytes.HasPrefix(e.Data, []byte("\x7fELF")) {
			continue
		}
		info, err := buildinfo.Read(bytes.NewReader(e.Data))
		if err != nil {
			return nil, fmt.Errorf("reading what %q was built from: %w", e.Path, err)
		}
		parts := []cyclonedx.Component{module(e.Path, "stdlib", strings.TrimPrefix(info.GoVersion, "go"))}
		for _, d := range info.Deps {
			if d.Replace != nil {
				d = d.Replace
			}
			parts = append(parts, module(e.Path, d.Path, d.Version))
		}
		all[e.Path] = parts
	}
	return all, nil
}

func module(program, name, version string) cyclonedx.Component {
	namespace, last := path.Split(name)
	url := packageurl.NewPackageURL(packageurl.TypeGolang, strings.TrimSuffix(namespace, "/"), last, version, nil, "").ToString()
	return cyclonedx.Component{
		BOMRef: "file:" + program + "#" + url, Type: cyclonedx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: url,
	}
}

// properties are pairs of a name and a value; those without a value are left out.
func properties(pairs ...string) *[]cyclonedx.Property {
	var all []cyclonedx.Property
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			all = append(all, cyclonedx.Property{Name: pair[0], Value: pair[1]})
		}
	}
	return &all
}
