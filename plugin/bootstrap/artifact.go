// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// artifact is the folder with the image's files.
type artifact struct {
	dir string
	// files are paths.
	files []string
}

var _ packersdk.Artifact = (*artifact)(nil)

func newArtifact(dir string, written []file) *artifact {
	a := &artifact{dir: dir}
	for _, f := range written {
		a.files = append(a.files, filepath.Join(dir, f.Name))
	}
	a.files = append(a.files, filepath.Join(dir, manifestName))
	return a
}

// BuilderId returns [BuilderID].
func (a *artifact) BuilderId() string { return BuilderID }

// Files returns the paths of root.tar, of the disk images and of manifest.json.
func (a *artifact) Files() []string { return a.files }

// Id returns the folder.
func (a *artifact) Id() string { return a.dir }

// String tells a person where the image is.
func (a *artifact) String() string {
	names := make([]string, len(a.files))
	for i, f := range a.files {
		names[i] = filepath.Base(f)
	}
	return fmt.Sprintf("image in %s: %s", a.dir, strings.Join(names, ", "))
}

// State has nothing to tell.
func (a *artifact) State(string) any { return nil }

// Destroy removes the image.
func (a *artifact) Destroy() error { return os.RemoveAll(a.dir) }
