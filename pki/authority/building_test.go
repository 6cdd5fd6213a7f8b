// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// startedBuilding is an authority that is being made, of which all is there but its name.
func startedBuilding(t *testing.T, plan Plan) (string, *flock.Flock) {
	t.Helper()
	building, err := startBuilding(plan.Path)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := hold(building)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Unlock() })
	if err := fill(building, plan, UnderPassphrase{Passphrase: passphrase}, now); err != nil {
		t.Fatal(err)
	}
	return building, lock
}

// TestBuildingIsSweptBesideAnother: what a kill left of making an authority is swept by
// whatever is done with one beside it, also of another name; what may be in use, or is
// another's, stays.
func TestBuildingIsSweptBesideAnother(t *testing.T) {
	folder := newFolder(t)
	beside := filepath.Dir(folder.Path())
	own := filepath.Join(beside, "."+filepath.Base(folder.Path())+".1.tmp")
	var stays []string
	for _, path := range []string{own, filepath.Join(beside, ".lab.1.tmp"), filepath.Join(beside, ".notes.1.tmp"), filepath.Join(beside, ".begun.1.tmp")} {
		if err := os.Mkdir(path, folderMode); err != nil {
			t.Fatal(err)
		}
		stays = append(stays, path)
	}
	if err := os.WriteFile(filepath.Join(stays[2], lockFile), nil, privateFile); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stays[2], "notes.txt"), nil, privateFile); err != nil {
		t.Fatal(err)
	}
	// A copy of the whole, of which the age does not tell; and one that has no key in it
	// yet, and a lock that its maker is about to take.
	for _, name := range []string{".other.20261127.tmp", "." + filepath.Base(folder.Path()) + ".20261127.tmp"} {
		copied := filepath.Join(beside, name)
		if err := os.CopyFS(copied, os.DirFS(folder.Path())); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(copied, now, now.Add(-24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		stays = append(stays, copied)
	}
	if err := os.WriteFile(filepath.Join(stays[3], lockFile), nil, privateFile); err != nil {
		t.Fatal(err)
	}
	building, lock := startedBuilding(t, Plan{Path: filepath.Join(beside, "other"), Name: "other", ServerName: "other-vpn", Network: "10.0.255.0/24"})
	if swept, err := folder.SweepBeside(time.Now()); err != nil || len(swept) != 0 {
		t.Errorf("swept %q, %v", swept, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if swept, err := folder.SweepBeside(time.Now()); err != nil || !slices.Equal(swept, []string{building}) {
		t.Errorf("swept %q, want %q, %v", swept, building, err)
	}
	// Of what was killed before it had a lock the age tells, where the name does.
	if swept, err := folder.SweepBeside(time.Now().Add(2 * leftAfter)); err != nil || !slices.Equal(swept, []string{own}) {
		t.Errorf("swept %q, want %q, %v", swept, own, err)
	}
	for _, path := range stays[1:] {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestSweptIsLogged: a CA that is in force may have signed for a gateway in what a kill
// left of taking it over.
func TestSweptIsLogged(t *testing.T) {
	folder := newFolder(t)
	issuer := unlock(t, folder, now)
	wrapper, err := folder.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	in := func(building string) []made {
		t.Helper()
		files, certificates, err := serverFiles(issuer, mark{Name: "office", ServerName: "office-vpn", Server: 1}, wrapper)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			path := filepath.Join(building, file.Path)
			if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
				t.Fatal(err)
			}
			if filepath.Base(path) == "probe.crt" { // not all had their names
				path = filepath.Join(filepath.Dir(path), ".probe.crt.123.tmp")
			}
			if err := os.WriteFile(path, file.Data, file.Mode); err != nil {
				t.Fatal(err)
			}
		}
		return certificates
	}
	logged := func(certificates []made) {
		t.Helper()
		raw, err := os.ReadFile(folder.at("log.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range certificates {
			if want := fmt.Sprintf("%q,\"name\":%q,\"serial\":\"%s\",\"sha256\":\"%s\"", c.action+"-failed", c.certificate.Subject.CommonName, c.certificate.SerialNumber, hashOf(c.certificate.Raw)); strings.Count(string(raw), want) != 1 {
				t.Errorf("the log has no %s:\n%s", want, raw)
			}
		}
	}
	building, err := startBuilding(folder.Path())
	if err != nil {
		t.Fatal(err)
	}
	lock, err := hold(building)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	certificates := in(building)
	if swept, err := folder.SweepBeside(time.Now()); err != nil || !slices.Equal(swept, []string{building}) {
		t.Errorf("swept %q, %v", swept, err)
	}
	logged(certificates)
	// So it may in what was to be the next set of the gateway's keys.
	set := folder.at("server", ".2.123.tmp")
	certificates = in(set)
	if swept, err := folder.Sweep(now); err != nil || !slices.Equal(swept, []string{set}) {
		t.Errorf("swept %q, %v", swept, err)
	}
	logged(certificates)
}
