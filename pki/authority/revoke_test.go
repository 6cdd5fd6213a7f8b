// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package authority

import (
	"math/big"
	"strings"
	"testing"
)

// TestForeignIsRevokedByEveryCA breaks a revocation off between the lists of two
// CAs: given again, it must not be taken for done, and the list that has it must
// not have it twice.
func TestForeignIsRevokedByEveryCA(t *testing.T) {
	folder := newFolder(t)
	folder, err := folder.StartRollover(unlock(t, folder, now), UnderPassphrase{Passphrase: passphrase})
	if err != nil {
		t.Fatal(err)
	}
	issuers, err := folder.UnlockAll(Keys{Passphrase: passphrase}, now)
	if err != nil {
		t.Fatal(err)
	}
	serial := big.NewInt(0xABC)
	first := Revocation{Serial: serial, NotAfter: folder.CA().NotAfter, At: now, Reason: Superseded}
	if _, err := folder.SignCRL(issuers[0], first); err != nil {
		t.Fatal(err)
	}
	if err := folder.CheckForeign(serial); err != nil {
		t.Fatalf("given again: %v", err)
	}
	if err := folder.RevokeForeign(issuers, Superseded, serial); err != nil {
		t.Fatal(err)
	}
	lists, err := folder.CRLs()
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range lists {
		if len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Cmp(serial) != 0 {
			t.Errorf("list %d has %d entries", i, len(list.RevokedCertificateEntries))
		}
	}
	if err := folder.CheckForeign(serial); err == nil || !strings.Contains(err.Error(), "it was revoked on 2026-11-23 (superseded)") {
		t.Errorf("once more: %v", err)
	}
}
