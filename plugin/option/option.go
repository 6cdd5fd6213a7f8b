// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

// Package option reads the values of those options that the source and the
// provisioner have alike. It runs in the plugin. Its errors say what is allowed;
// the callers name the option.
package option

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// packageName is Debian policy 5.6.1. A version (=1.2) or release (/backports) is
// not taken, so that the manifest is the only place that knows versions.
var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// CheckPackage refuses what is not the name of a package to install.
func CheckPackage(name string) error {
	if !packageName.MatchString(name) {
		return errors.New(`a package is a name such as "tcpdump": small letters, digits, + . -`)
	}
	// apt-get(8) takes "name-" for "remove it" and "name+" for "install it". Names
	// that end with a plus are those of g++ and its like.
	if strings.HasSuffix(name, "-") || (strings.HasSuffix(name, "+") && !strings.HasSuffix(name, "++")) {
		return errors.New(`a package is a name such as "tcpdump" or "g++"; apt takes a "-" or "+" at the end for an order to remove or install it`)
	}
	return nil
}

// Duration reads a duration of least to most.
func Duration(value string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf(`it is a duration such as "30m", at least %q, at most %q`, short(least), short(most))
	}
	return d, nil
}

// short is a duration as people write it: "24h", not "24h0m0s".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
