// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

// bomSchema is CycloneDX's own definition of its format, which comes with the
// library.
func bomSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	const at = "http://cyclonedx.org/schema/"
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for url, name := range map[string]string{
		"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "schema", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		doc, err := jsonschema.UnmarshalJSON(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(at+url, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile(at + "bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func sampleBOM(t *testing.T) []byte {
	t.Helper()
	program, err := os.Executable() // a Go program that is at hand
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	tree := append(sample(), rootfs.Entry{Path: programPath, Mode: 0o755, Owner: "root", Group: "root", Data: data})
	m := mustManifest(t, Build{Version: "0.1.0", Commit: "abc"}, facts{OS: "Debian GNU/Linux 13 (trixie)", ID: "debian", VersionID: "13", Architecture: "amd64"}, tree, nil)
	m.ID = "0123456789ab"
	m.Packages, err = parsePackages("openvpn\t2.6.14-1+deb13u3\tamd64\topenvpn\t2.6.14-1+deb13u3\tinstalled\n" +
		"libssl3t64\t3.5.4-1~deb13u1\tamd64\topenssl\t3.5.4-1~deb13u1\tinstalled\n" +
		"zlib1g\t1:1.3+b1\tamd64\tzlib\t1:1.3\tinstalled\n")
	if err != nil {
		t.Fatal(err)
	}
	bom, err := sbom(m, tree)
	if err != nil {
		t.Fatal(err)
	}
	return bom
}

func TestSBOM(t *testing.T) {
	data, again := sampleBOM(t), sampleBOM(t)
	if !bytes.Equal(data, again) {
		t.Error("the same image has two SBOMs")
	}
	bom := new(cyclonedx.BOM)
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(data), cyclonedx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	got := map[string]cyclonedx.Component{}
	for _, c := range *bom.Components {
		got[c.Name] = c
	}
	for name, want := range map[string]string{
		"openvpn":    "pkg:deb/debian/openvpn@2.6.14-1%2Bdeb13u3?arch=amd64&distro=debian-13",
		"libssl3t64": "pkg:deb/debian/libssl3t64@3.5.4-1~deb13u1?arch=amd64&distro=debian-13&upstream=openssl",
		"zlib1g":     "pkg:deb/debian/zlib1g@1%3A1.3%2Bb1?arch=amd64&distro=debian-13&upstream=zlib%401%3A1.3",
	} {
		if diff := cmp.Diff(want, got[name].PackageURL); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	conf := got["/etc/x/conf"]
	if conf.Hashes == nil || len((*conf.Hashes)[0].Value) != 64 || conf.Properties == nil || len(*conf.Properties) != 3 {
		t.Errorf("a file without its hash, mode and owner: %+v", conf)
	}
	parts := got[programPath].Components
	if parts == nil || (*parts)[0].Name != "stdlib" {
		t.Errorf("%s without the Go that it was built by: %+v", programPath, parts)
	}
	if refs := *bom.Dependencies; len(*refs[0].Dependencies) != len(*bom.Components) {
		t.Error("the image does not depend on all that is in it")
	}
	for _, e := range sample() {
		if _, there := got[e.Path]; there != (e.Mode.Type() == 0) {
			t.Errorf("%s, %s: %v", e.Path, e.Mode.Type()&fs.ModeType, there)
		}
	}
}

// The format's own schema judges.
func TestSBOMIsValid(t *testing.T) {
	schema := bomSchema(t)
	var doc map[string]any
	if err := json.Unmarshal(sampleBOM(t), &doc); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%#v", err)
	}
	// And would say so.
	doc["serialNumber"] = "1"
	if schema.Validate(doc) == nil {
		t.Error("the schema takes any serial number")
	}
}

func TestSBOMRefusesAnUnknownProgram(t *testing.T) {
	tree := []rootfs.Entry{{Path: "/usr/sbin/x", Data: []byte("\x7fELF not of Go")}}
	if _, err := sbom(mustManifest(t, Build{}, facts{}, tree, nil), tree); err == nil || !strings.Contains(err.Error(), `"/usr/sbin/x"`) {
		t.Errorf("got %v", err)
	}
}
