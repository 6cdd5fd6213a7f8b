// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"strconv"
	"strings"
)

// port is an argument that is a port. One that is neither a number nor a name ends
// OpenVPN where it binds it; where it goes to, it is asked for again and again.
type port struct {
	line    string // with "#" where it stands
	refused Effect
}

func ports() []port {
	return []port{
		{"port #", Fatal}, {"lport #", Fatal}, {"management 127.0.0.1 #", Fatal},
		{"rport #", Works}, {"remote 127.0.0.1 #", Works}, {"http-proxy 127.0.0.1 #", Works}, {"socks-proxy 127.0.0.1 #", Works},
	}
}

// isService tells whether services(5) could have the name.
func isService(text string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return text != "" && strings.ContainsAny(text[:1], letters) && strings.Trim(text, letters+"0123456789_-") == ""
}

// misported finds what is no port.
func misported(l Line) (Finding, bool) {
	for _, p := range ports() {
		text, is := at(p.line, l)
		if !is || l.Name == "management" && text == "unix" {
			continue
		}
		n, err := strconv.Atoi(text)
		found := Finding{On26: Works, On27: Works, Instead: l.Name + " with a number from 1 to 65535"}
		switch {
		case err == nil && n > 0 && n < 1<<16:
			continue
		case err == nil && n >= 0:
			found.Why = "there is no such port: it is cut off, and becomes another"
		case isService(text):
			found.Why = "where the machine's /etc/services does not have that name, OpenVPN does not start, or goes nowhere"
		default:
			found.On26, found.On27, found.Why = p.refused, p.refused, strconv.Quote(text)+" is none"
		}
		return found, true
	}
	return Finding{}, false
}
