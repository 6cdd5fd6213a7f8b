// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package provisioner

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/rootfs"
)

// layDown puts the files of the image into their places, as root, with the modes,
// owners and links of the manifest.
func layDown(ctx context.Context, g *guest, tree []rootfs.Entry) error {
	packed, err := treeTar(tree)
	if err != nil {
		return err
	}
	// The program is 9 MB and shrinks to a third, which matters on a line to a
	// cloud; more than the quickest level gains little.
	var upload bytes.Buffer
	zip, err := gzip.NewWriterLevel(&upload, gzip.BestSpeed)
	if err == nil {
		_, err = zip.Write(packed)
	}
	if err == nil {
		err = zip.Close()
	}
	if err != nil {
		return fmt.Errorf("packing the files of the image: %w", err)
	}
	archive := path.Join(g.dir, "tree.tar.gz")
	g.note(fmt.Sprintf("%.1f MB to upload", float64(upload.Len())/1e6))
	if err := g.comm.Upload(archive, &upload, nil); err != nil {
		return fmt.Errorf("uploading the files of the image to %q on the guest: %w", archive, err)
	}
	out := g.say()
	defer out.Close()
	if err := g.script(ctx, out, "laydown.sh", archive); err != nil {
		return fmt.Errorf("laying down the files of the image: %w", err)
	}
	g.note(fmt.Sprintf("%d files, folders and links", len(tree)))
	return nil
}

// treeTar packs the files of the image. Owners are names, which the guest
// resolves; times are none, so that the same tree gives the same bytes.
func treeTar(tree []rootfs.Entry) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range tree {
		h := &tar.Header{
			Name:    strings.TrimPrefix(e.Path, "/"),
			Mode:    int64(e.Mode.Perm()),
			Uname:   e.Owner,
			Gname:   e.Group,
			ModTime: time.Unix(0, 0),
			Format:  tar.FormatUSTAR,
		}
		switch e.Mode.Type() {
		case 0:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.Data))
		case fs.ModeDir:
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		case fs.ModeSymlink:
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
		default:
			return nil, fmt.Errorf("packing %q: it is neither a file, a folder nor a link, but %s", e.Path, e.Mode)
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("packing %q: %w", e.Path, err)
		}
		if _, err := w.Write(e.Data); err != nil {
			return nil, fmt.Errorf("packing %q: %w", e.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing the files of the image: %w", err)
	}
	return out.Bytes(), nil
}
