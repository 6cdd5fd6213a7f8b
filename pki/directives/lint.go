// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"slices"
	"strings"
)

// Effect is what an OpenVPN does with a directive.
type Effect string

// The effects there are.
const (
	Works   Effect = "works"
	Ignored Effect = "ignored"
	Warns   Effect = "warns"   // it starts, and says that the directive is old
	Fatal   Effect = "fatal"   // it does not start
	Unknown Effect = "unknown" // not to this program
)

// Finding is what there is to say of a directive, or of one that is missing.
type Finding struct {
	Line      int    `json:"line,omitempty"` // 0: it is missing
	Directive string `json:"directive"`
	On26      Effect `json:"openvpn_2_6"`
	On27      Effect `json:"openvpn_2_7"`
	Why       string `json:"why,omitempty"`
	Instead   string `json:"instead,omitempty"`
}

// Fine tells that there is nothing to do.
func (f Finding) Fine() bool { return f.Instead == "" && f.On26 == Works && f.On27 == Works }

// Role is which end a configuration is of.
type Role string

// The two ends.
const (
	Server Role = "server"
	Client Role = "client"
)

// RoleOf tells which end a configuration is of.
func RoleOf(lines []Line) Role {
	if has(lines, "tls-server") {
		return Server
	}
	return modeOf(lines)
}

// modeOf is [Server] if a configuration serves many: some directives are of that,
// and some of one peer alone.
func modeOf(lines []Line) Role {
	for _, l := range lines {
		switch {
		case l.Name == "server", l.Name == "server-bridge", l.Name == "server-ipv6":
			return Server
		case l.Name == "mode" && len(l.Args) > 0 && l.Args[0] == "server":
			return Server
		}
	}
	return Client
}

// Lint tells of every directive what 2.6 and 2.7 do with it, in the order of
// the file, and then what is missing.
func Lint(lines []Line) []Finding {
	role, whole, rules, conflicts, choices, numbers, values := RoleOf(lines), configurationOf(lines), rules(), conflicts(), choices(), numbers(), values()
	var findings []Finding
	var passed []string // over, where OpenVPN does not know them; of what stands behind
	lenient := false    // of all that stands behind
	for _, l := range lines {
		if l.Name == "ignore-unknown-option" {
			for _, name := range l.Args {
				passed = append(passed, strings.TrimPrefix(name, "--"))
			}
		}
		if l.Name == "setenv" && slices.Equal(l.Args, []string{"FORWARD_COMPATIBLE", "1"}) {
			lenient = true
		}
		found, is := miscounted(l)
		for _, look := range []func() (Finding, bool){
			func() (Finding, bool) { return misplaced(l, whole.mode) },
			func() (Finding, bool) { return mistaken(l, choices) },
			func() (Finding, bool) { return whole.with(l, conflicts) },
			func() (Finding, bool) { return misnumbered(l, numbers) },
			func() (Finding, bool) { return misformed(l, values) },
			func() (Finding, bool) { return misresolved(l) },
			func() (Finding, bool) { return misported(l) },
		} {
			if !is {
				found, is = look()
			}
		}
		if !is {
			found = opinion(l, role, rules)
		}
		found.Line, found.Directive = l.Number, l.String()
		over := l.Optional || lenient || l.Connection == 0 && slices.Contains(passed, l.Name)
		findings = append(findings, settled(found, over))
	}
	for _, m := range missing() {
		if (m.role == "" || m.role == role) && !m.met(lines) {
			findings = append(findings, Finding{Directive: "no " + m.Directive, On26: m.On26, On27: m.On27, Why: m.Why, Instead: m.Instead})
		}
	}
	return findings
}

// misplaced finds what OpenVPN takes at the other end, or elsewhere, only.
func misplaced(l Line, mode Role) (Finding, bool) {
	found := Finding{On26: Fatal, On27: Fatal, Instead: nothing}
	literal := len(l.Args) > 0 && l.Args[0] == "[inline]"
	switch {
	case l.Inlined && isKnown(l.Name) && !isOf(l.Name, inTags):
		found.Why, found.Instead = "OpenVPN does not take it so", l.Name+" in one line"
	case literal && isOf(l.Name, inTags):
		found.Why, found.Instead = "it names a file that is called \"[inline]\"", "<"+l.Name+"> before what it holds, and </"+l.Name+"> behind it"
	case l.Connection > 0 && isKnown(l.Name) && !isOf(l.Name, inConnections):
		found.Why, found.Instead = "OpenVPN does not take it in a <connection>", "it, outside"
	case isIn(inPersonFiles, l.Name):
		found.Why, found.Instead = "it is for one client", "a file for each client, in the folder of client-config-dir"
	case mode == Client && isIn(inServers, l.Name):
		found.Why = "it is for a server"
	case mode == Server && isIn(inClients, l.Name):
		found.Why = "it is for a client"
		if l.Name == "redirect-gateway" || l.Name == "redirect-private" {
			found.Instead = `push "` + readable(l.String()) + `"`
		}
	default:
		return Finding{}, false
	}
	return found, true
}

// settled is a finding as it is told. Over is that OpenVPN passes over the directive
// where it does not know it.
func settled(found Finding, over bool) Finding {
	gone := func(e Effect) bool { return e == removed || e == Unknown }
	if over && gone(found.On26) {
		if found.On26 == Unknown && gone(found.On27) {
			found.Why = "OpenVPN does not know it, and passes over it, as it is told to"
		}
		found.On26 = Warns
	}
	if over && gone(found.On27) {
		found.On27 = Warns
	}
	found.On26, found.On27 = found.On26.told(), found.On27.told()
	return found
}

// removed is an effect that is told as fatal, of a word that OpenVPN no longer
// knows: after "setenv opt" it is passed over.
const removed Effect = "removed"

func (e Effect) told() Effect {
	if e == removed {
		return Fatal
	}
	return e
}

func opinion(l Line, role Role, rules []rule) Finding {
	found := Finding{On26: Works, On27: Works}
	for _, r := range rules {
		if r.name == l.Name && (r.role == "" || r.role == role) && (r.when == nil || r.when(l.given())) {
			found.On26, found.On27, found.Why, found.Instead = r.on26, r.on27, r.why, r.instead
			return found
		}
	}
	switch {
	case isKnown(l.Name):
	case isOf(l.Name, onWindows):
		found = Finding{On26: removed, On27: removed, Why: "it is for Windows: elsewhere OpenVPN does not start with it", Instead: "setenv opt " + readable(l.String())}
		if l.Optional {
			found.Why, found.Instead = "it is for Windows, and passed over elsewhere", ""
		}
	case isIn(of27, l.Name):
		found.On26, found.Why = Unknown, "new in 2.7: 2.6 does not start with it"
	default:
		found.On26, found.On27, found.Why = Unknown, Unknown, "OpenVPN does not start with what it does not know: see openvpn(8)"
	}
	return found
}

// has tells whether a directive is there.
func has(lines []Line, name string) bool {
	return slices.ContainsFunc(lines, func(l Line) bool { return l.Name == name })
}
