// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package option

import (
	"strings"
	"testing"
	"time"
)

func TestCheckPackage(t *testing.T) {
	for _, name := range []string{"tcpdump", "g++", "libstdc++", "libstdc++6", "g++-14", "python3.13", "0ad", "openvpn-auth-ldap"} {
		if err := CheckPackage(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"":              "small letters",
		"x":             "small letters", // policy: two characters at least
		"Vim":           "small letters",
		"vim=2:9":       "small letters",
		"vim/backports": "small letters",
		"vim:arm64":     "small letters",
		"standard^":     "small letters",
		"a b":           "small letters",
		"vim\n":         "small letters",
		"--yes":         "small letters",
		"-o":            "small letters",
		"openvpn-":      "remove",
		"g++-":          "remove",
		"openvpn+":      "remove or install",
	} {
		if err := CheckPackage(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", name, err, want)
		}
	}
}

func FuzzCheckPackage(f *testing.F) {
	for _, s := range []string{"g++", "openvpn-", "a+", "-o", "x=1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckPackage(s) == nil && (strings.ContainsAny(s, " =/:^*?\n") || strings.HasPrefix(s, "-") || strings.HasSuffix(s, "-")) {
			t.Errorf("accepted %q", s)
		}
	})
}

func TestDuration(t *testing.T) {
	const least, most = time.Second, 24 * time.Hour
	for value, want := range map[string]time.Duration{"1s": time.Second, "90m": 90 * time.Minute, "24h": most} {
		if got, err := Duration(value, least, most); err != nil || got != want {
			t.Errorf("%q: %s, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "10", "ten minutes", "0s", "999ms", "-1m", "24h1s", "9999999h"} {
		if _, err := Duration(value, least, most); err == nil || !strings.Contains(err.Error(), `at least "1s", at most "24h"`) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1s", time.Minute: "1m", 10 * time.Minute: "10m", 24 * time.Hour: "24h", 20 * time.Second: "20s", 90 * time.Minute: "1h30m",
	} {
		if got := short(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
