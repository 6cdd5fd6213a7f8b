// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bundle

import (
	"fmt"
	"strings"
)

// MaxNameLength is OpenVPN's own limit of a common name (TLS_USERNAME_LEN in
// its ssl_verify.h), and X.509's (ub-common-name, RFC 5280 appendix A).
const MaxNameLength = 64

const nameAllowed = "allowed are 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or a digit"

// CheckName refuses a common name outside the safe alphabet. A comma in one
// forges columns of OpenVPN's status, a NUL is CVE-2026-84790, a slash or a
// leading dot would walk out of the folder of per-client files.
func CheckName(s string) error {
	if s == "" {
		return fmt.Errorf("the name is empty: %s", nameAllowed)
	}
	if len(s) > MaxNameLength {
		return fmt.Errorf("the name %q is %d bytes long: %s", s[:MaxNameLength]+"...", len(s), nameAllowed)
	}
	for i, r := range s {
		if i == 0 && !isAlphanumeric(r) {
			return fmt.Errorf("the name %q begins with %q: %s", s, r, nameAllowed)
		}
		if !isAlphanumeric(r) && !strings.ContainsRune("._-", r) {
			return fmt.Errorf("the name %q has %q in it: %s", s, r, nameAllowed)
		}
	}
	return nil
}

// CheckPersonName is [CheckName], and refuses the names that mean something
// else: everything of vpnami's own, and OpenVPN's DEFAULT, whose per-client
// file would let everybody in.
func CheckPersonName(s string) error {
	if err := CheckName(s); err != nil {
		return err
	}
	lower := strings.ToLower(s)
	if lower == "default" || strings.HasPrefix(lower, "vpnami-") {
		return fmt.Errorf("the name %q is reserved: choose one that is not \"DEFAULT\" and does not begin with \"vpnami-\"", s)
	}
	return nil
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// CheckPrefix refuses what cannot be the beginning of a secret's name. The
// alphabet and length are those of CreateSecret, less room for "/access/000":
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
func CheckPrefix(s string) error {
	const longest = 512 - len("/access/000")
	const allowed = "allowed are 1 to 501 of A-Z a-z 0-9 / _ + = . @ -, such as \"vpn/office\""
	switch {
	case s == "":
		return fmt.Errorf("the secret prefix is empty: %s", allowed)
	case len(s) > longest:
		return fmt.Errorf("the secret prefix is %d bytes long: %s", len(s), allowed)
	case strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.Contains(s, "//"):
		return fmt.Errorf("the secret prefix %q has an empty part between slashes: %s", s, allowed)
	}
	for _, r := range s {
		if !isAlphanumeric(r) && !strings.ContainsRune("/_+=.@-", r) {
			return fmt.Errorf("the secret prefix %q has %q in it: %s", s, r, allowed)
		}
	}
	return nil
}

// ServerID is the name of the server secret under a prefix.
func ServerID(prefix string) string { return prefix + "/server" }

// AccessID is the name of the secret with the access head.
func AccessID(prefix string) string { return prefix + "/access" }

// ShardID is the name of the secret with the i-th shard.
func ShardID(prefix string, i int) string { return fmt.Sprintf("%s/access/%03d", prefix, i) }
