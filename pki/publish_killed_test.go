// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build !noaws

package main

import (
	"fmt"
	"path/filepath"
	"testing"

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
