// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import "cmp"

// Remote is where a configuration connects to, as it is written there; what is
// empty, OpenVPN has a default for.
type Remote struct {
	Host, Port, Protocol string
	Connection           int // the <connection> that it is of; 0 is none
}

// Remotes are where OpenVPN connects to, one after another. What stands in a
// <connection> counts there, and what stands before it and in none is its default.
// Where there is a <connection>, what is in none is not connected to.
func Remotes(lines []Line) []Remote {
	var fallback Remote
	var plain, connections []Remote
	for _, l := range lines {
		arg := func(i int) string {
			if i < len(l.Args) {
				return l.Args[i]
			}
			return ""
		}
		here := &fallback
		if l.Connection > 0 {
			here = &connections[l.Connection-1]
		}
		switch l.Name {
		case "connection":
			if l.holdsDirectives() {
				connections = append(connections, Remote{Port: fallback.Port, Protocol: fallback.Protocol, Connection: len(connections) + 1})
			}
		case "port", "rport":
			here.Port = arg(0)
		case "proto":
			here.Protocol = arg(0)
		case "remote":
			if l.Connection == 0 {
				plain = append(plain, Remote{Host: arg(0), Port: arg(1), Protocol: arg(2)})
				continue
			}
			here.Host, here.Port, here.Protocol = arg(0), cmp.Or(arg(1), here.Port), cmp.Or(arg(2), here.Protocol)
		}
	}
	if len(connections) > 0 {
		return connections
	}
	for i := range plain {
		plain[i].Port, plain[i].Protocol = cmp.Or(plain[i].Port, fallback.Port), cmp.Or(plain[i].Protocol, fallback.Protocol)
	}
	return plain
}
