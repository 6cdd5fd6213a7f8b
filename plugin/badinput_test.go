// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mirrored is a bake from the archive at %[2]q; %[1]q is where the image goes.
const mirrored = `
source "vpnami-bootstrap" "acc" {
  output_directory = %[1]q
  disk_size        = "1G"
  mirror           = "%[2]s/debian"
  security_mirror  = "%[2]s/debian-security"
}
build {
  sources = ["source.vpnami-bootstrap.acc"]
}
`

// What goes wrong around a bake: it ends, says what to do, and leaves nothing.
func TestAccBadInput(t *testing.T) {
	env := acceptance(t)
	t.Run("a mirror that is away", func(t *testing.T) {
		// A port that was somebody's and is nobody's.
		gone, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := gone.Addr().String()
		_ = gone.Close()
		fails(t, env, t.TempDir(), mirrored, "http://"+address, unwatched, "is the archive reachable from here", "options mirror and security_mirror")
	})
	t.Run("a mirror that dies in the middle", func(t *testing.T) {
		fails(t, env, t.TempDir(), mirrored, dyingMirror(t), unwatched, "is the archive reachable from here", "options mirror and security_mirror")
	})
	t.Run("a disk that is full in the middle", func(t *testing.T) {
		// A file system of its own, with little more than the bake asks for.
		disk := t.TempDir()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=3200m,mode=0755", "tmpfs", disk).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
		fill := func(line string, _ int) {
			if strings.Contains(line, "installing essential packages") {
				// 60 MiB: the bake is to begin to write, not to finish.
				if out, err := exec.Command("sh", "-c", "fallocate -l $(($(df -B1 --output=avail "+disk+" | tail -1) - 62914560)) "+disk+"/other").CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			}
		}
		fails(t, env, disk, template, "trixie", fill, "MiB left: make room", "or choose another folder")
	})
}

func unwatched(string, int) {}

// fails bakes in dir by a template of which the second value is what, and asserts
// that it fails with those words and leaves nothing.
func fails(t *testing.T, env []string, dir, template, what string, watch func(line string, group int), words ...string) {
	t.Helper()
	definition := filepath.Join(t.TempDir(), "t.pkr.hcl")
	out := filepath.Join(dir, "image")
	values := []any{out, what}
	if !strings.Contains(template, "%[1]") {
		slices.Reverse(values)
	}
	if err := os.WriteFile(definition, fmt.Appendf(nil, template, values...), 0o600); err != nil {
		t.Fatal(err)
	}
	before := mounts(t)
	began := time.Now()
	said, err := watched(t, env, definition, watch)
	if err == nil {
		t.Fatalf("the bake went through:\n%s", said)
	}
	t.Logf("failed after %.0f s", time.Since(began).Seconds())
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("it does not say %q:\n%s", w, said)
		}
	}
	if after := mounts(t); !slices.Equal(before, after) {
		t.Errorf("mounts before: %v\nafter: %v", before, after)
	}
	if left := processes(t, dir); left != nil {
		t.Errorf("processes left: %v", left)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a half image has the final name")
	}
	if left := partial(t, out); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// dyingMirror serves the archives of this machine's apt until ten packages have
// come, and after that breaks off in the middle of each.
func dyingMirror(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	upstream := map[string]*url.URL{}
	lines, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		uri, suite, _ := strings.Cut(strings.TrimSpace(line), " ")
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(suite, "-security") && strings.Contains(uri, "debian"):
			upstream["debian-security"] = u
		case !strings.Contains(suite, "-") && strings.Contains(uri, "/debian"):
			upstream["debian"] = u
		}
	}
	if len(upstream) != 2 {
		t.Fatalf("this machine's apt has no archive of Debian to stand before: %s", lines)
	}
	var packages atomic.Int32
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			_, rest, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, "/"), "/")
			name := strings.Split(r.In.URL.Path, "/")[1]
			r.Out.Host = ""
			r.SetURL(upstream[name])
			r.Out.URL.Path = strings.TrimSuffix(upstream[name].Path, "/") + "/" + rest
		},
		ModifyResponse: func(r *http.Response) error {
			if strings.HasSuffix(r.Request.URL.Path, ".deb") && packages.Add(1) > 10 {
				r.Body = struct {
					io.Reader
					io.Closer
				}{io.LimitReader(r.Body, 1000), r.Body}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}
