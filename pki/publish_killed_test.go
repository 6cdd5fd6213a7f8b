// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
)

// TestPublishKilledAtEveryWrite is [TestKilledAtEveryWrite] of the verb that writes
// elsewhere too: what was published where stays readable, and the same publish, given
// again, is taken.
func TestPublishKilledAtEveryWrite(t *testing.T) {
	need(t, "strace")
	endpoint, start := quickOffice(t)
	command(t, start, "issue", "client1", "--folder", "office")
	kills := 0
	for at := range calls("renameat", "fsync", "write") {
		for at.n = 1; ; at.n++ {
			folder := copyFolder(t, start)
			prefix := fmt.Sprintf("killed/%d", kills)
			publish := "publish --folder office --secret " + prefix
			if !killedAt(t, folder, at, publish, besideAWS(endpoint)...) {
				break
			}
			kills++
			where := "killed at " + at.String()
			checkWhole(t, folder, where)
			if out, err := tried(t, folder, publish, besideAWS(endpoint)...); err != nil {
				t.Fatalf("%s, then given again: %v\n%s", where, err, out)
			}
			office, err := authority.Open(filepath.Join(folder, "office"))
			if err != nil {
				t.Fatal(err)
			}
			published, err := office.Published()
			if last := published[authority.Place{Region: "ap-northeast-1", Prefix: prefix}]; err != nil || last.Generation == 0 || last.Told == "" {
				t.Errorf("%s, then given again: %+v, %v", where, last, err)
			}
			command(t, folder, "crl", "--folder", "office")
			checkSwept(t, folder, where)
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	t.Logf("killed at %d calls", kills)
	if kills < 5 {
		t.Errorf("%d kills: the calls are not seen", kills)
	}
}

// TestPublishFailedBeforeItIsPut: where the generation cannot be kept nothing is put, and
// the log does not say so.
func TestPublishFailedBeforeItIsPut(t *testing.T) {
	need(t, "strace")
	endpoint, start := quickOffice(t)
	before := filesIn(t, start)
	folder := copyFolder(t, start)
	const publish = "publish --folder office --secret failed/office"
	out, err := traced(t, folder, call{"renameat", 1, everyThread}, "error=EIO", publish, besideAWS(endpoint)...)
	if err == nil || !bytes.Contains(out, []byte("input/output error")) || bytes.Contains(out, []byte("wrote ")) {
		t.Errorf("%v, %s", err, out)
	}
	if diff := cmp.Diff(before, filesIn(t, folder)); diff != "" {
		t.Error(diff)
	}
	checkTakenBack(t, start, folder, "failed")
	if log, err := os.ReadFile(filepath.Join(folder, "office", "log.jsonl")); err != nil || !bytes.Contains(log, []byte(`"publish-failed"`)) {
		t.Errorf("the log: %s, %v", log, err)
	}
}
