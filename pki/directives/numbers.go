// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package directives

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// number is an argument that is a whole number. What is said of 2.6 is put to it in the
// tests. 2.7 tells its bounds in its errors; they are 2.7.8's.
type number struct {
	line       string // with "#" where the number stands
	on26, on27 span
}

// span is which numbers a version starts with, and how it reads them.
type span struct {
	read        func(text string) (n int64, is bool)
	least, most int64
}

func (s span) takes(text string) bool {
	n, is := s.read(text)
	return is && n >= s.least && n <= s.most
}

// leading is the number that a text begins with, as atoi(3) has it: 0 if with none.
func leading(text string) (int64, bool) {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || end == 0 && (text[0] == '-' || text[0] == '+')) {
		end++
	}
	n, _ := strconv.ParseInt(text[:end], 10, 64) // of one that is too large, the largest
	return int64(int32(n)), true                 //nolint:gosec // so it is cut off in C as well
}

// entire is the number that a text is, as strtoll(3) has it: of an empty one, 0.
func entire(text string) (int64, bool) {
	n, err := strconv.ParseInt(cmp.Or(strings.TrimLeft(text, " \t\n\v\f\r"), "0"), 10, 64)
	return n, err == nil
}

func numbers() []number {
	anything := span{leading, math.MinInt64, math.MaxInt64}
	loosely := func(least, most int64) span { return span{leading, least, most} }
	strictly := func(least, most int64) span { return span{entire, least, most} }
	const largest = math.MaxInt32
	all := []number{
		{"connect-freq # 60", loosely(0, largest), strictly(1, largest)},
		{"connect-freq 10 #", loosely(0, largest), strictly(1, largest)},
		{"connect-freq-initial # 10", strictly(0, math.MaxInt64), strictly(1, largest)},
		{"connect-freq-initial 50 #", strictly(0, math.MaxInt64), strictly(1, largest)},
		{"fragment #", loosely(68, largest), strictly(68, largest)},
		{"hash-size # 512", loosely(1, largest), strictly(1, largest)},
		{"hash-size 512 #", loosely(1, largest), strictly(1, largest)},
		{"keepalive # 200000", loosely(1, largest), strictly(1, 86400)},
		{"keepalive 1 #", loosely(1, largest), strictly(1, 86400)},
		{"keying-material-exporter EXPORTER-x #", loosely(16, 4095), strictly(16, 4095)},
		{"management-log-cache #", loosely(1, largest), strictly(1, largest)},
		{"max-clients #", loosely(0, 16777214), strictly(1, 16777215)},
		{"replay-window # 15", loosely(0, 65536), strictly(0, 65536)},
		{"replay-window 64 #", loosely(0, 600), strictly(0, 600)},
		{"shaper #", loosely(100, 100000000), strictly(100, 100000000)},
		{"stale-routes-check #", loosely(1, largest), strictly(1, largest)},
		{"stale-routes-check 600 #", loosely(1, largest), strictly(1, largest)},
		{"status-version #", loosely(1, 3), strictly(1, 3)},
		{"tcp-queue-limit #", loosely(1, largest), strictly(1, largest)},
		{"tun-mtu #", loosely(100, largest), strictly(100, 65536)},
		{"tun-mtu-max #", loosely(68, 65536), strictly(1600, 65536)},
		{"vlan-pvid #", loosely(1, 4094), strictly(1, 4094)},
		{"bcast-buffers #", loosely(1, largest), strictly(1, 1<<28)},
		{"auth-gen-token # external-auth", anything, strictly(0, largest)},
		{"inactive 600 #", anything, strictly(0, math.MaxInt64)},
		{"max-routes-per-client #", anything, strictly(1, largest)},
		{"mssfix #", anything, strictly(0, 65535)},
		{"script-security #", anything, strictly(0, 3)},
		{"tls-timeout #", anything, strictly(1, 65536)},
		{"tun-mtu-extra #", anything, strictly(0, 65536)},
	}
	for _, line := range []string{"mark #", "nice #", "static-challenge text #"} {
		all = append(all, number{line, anything, strictly(math.MinInt32, largest)})
	}
	for _, line := range []string{"ping #", "ping-exit #", "ping-restart #"} {
		all = append(all, number{line, anything, strictly(0, 86400)})
	}
	for _, line := range []string{"reneg-bytes #", "reneg-pkts #"} {
		all = append(all, number{line, anything, strictly(0, math.MaxInt64)})
	}
	for _, line := range []string{
		"connect-retry #", "connect-retry 1 #", "connect-retry-max #", "connect-timeout #", "explicit-exit-notify #", "hand-window #",
		"ifconfig-pool-persist pool #", "inactive #", "link-mtu #", "max-packet-size #", "mute #", "rcvbuf #", "reneg-sec #", "reneg-sec 3600 #",
		"route-delay #", "route-delay 5 #", "route-metric #", "server-poll-timeout #", "session-timeout #", "sndbuf #", "status status #",
		"tran-window #", "txqueuelen #", "udp-mtu #", "verb #",
	} {
		all = append(all, number{line, anything, strictly(0, largest)})
	}
	return all
}

// at is the argument of a line that "#" stands for in another of the same directive.
func at(pattern string, l Line) (string, bool) {
	name, rest, _ := strings.Cut(pattern, " ")
	if name != l.Name || l.Inlined {
		return "", false
	}
	i := slices.Index(strings.Fields(rest), "#")
	if i < 0 || i >= len(l.Args) {
		return "", false
	}
	return l.Args[i], true
}

// misnumbered finds an argument that is to be a number, and is none, or none that
// OpenVPN takes.
func misnumbered(l Line, numbers []number) (Finding, bool) {
	for _, n := range numbers {
		text, is := at(n.line, l)
		if !is || n.on26.takes(text) && n.on27.takes(text) {
			continue
		}
		found := Finding{On26: Fatal, On27: Fatal, Why: strconv.Quote(text) + " is none", Instead: l.Name + " with " + n.on27.String()}
		switch {
		case n.on27.takes(text):
			found.On27, found.Why, found.Instead = Works, "for 2.6 it is too large", l.Name+" with "+n.on26.String()
		case n.on26.takes(text):
			as, _ := n.on26.read(text)
			found.On26 = Works
			if strconv.FormatInt(as, 10) != text {
				found.Why += fmt.Sprintf(": 2.6 takes it for %d", as)
			}
		}
		return found, true
	}
	return Finding{}, false
}

// String is a span as it is told: the ends that a machine's numbers have are no news.
func (s span) String() string {
	switch {
	case s.most < math.MaxInt32:
		return fmt.Sprintf("a whole number from %d to %d", s.least, s.most)
	case s.least == math.MinInt32:
		return "a whole number"
	}
	return fmt.Sprintf("a whole number from %d on", s.least)
}

// ends are numbers at the ends of a span, and what is none.
func (s span) ends() []string {
	var ends []string
	if s.least > math.MinInt32 {
		ends = append(ends, strconv.FormatInt(s.least-1, 10), strconv.FormatInt(s.least, 10))
	}
	if s.most < math.MaxInt32 {
		ends = append(ends, strconv.FormatInt(s.most, 10), strconv.FormatInt(s.most+1, 10))
	}
	return append(ends, "word", "12th")
}
