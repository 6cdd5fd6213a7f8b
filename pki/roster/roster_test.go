// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package roster

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestFormsMeanTheSame(t *testing.T) {
	want := []Entry{
		{Name: "suzuki", Address: Address{Own: netip.MustParseAddr("10.0.255.10")}, Groups: []string{"dev", "ops"}, Note: "Tokyo, 2nd floor"},
		{Name: "sato", Address: Address{Auto: true}},
		{Name: "a.b"},
	}
	for name, text := range map[string]string{
		"people.csv":  "\xef\xbb\xbfNote, name,groups,address\r\n\"Tokyo, 2nd floor\",suzuki,dev; ops,10.0.255.10\r\n,sato,,auto\r\n,a.b,,\r\n",
		"people.yaml": "- {name: suzuki, address: 10.0.255.10, groups: [dev, ops], note: \"Tokyo, 2nd floor\"}\n- name: sato\n  address: auto\n- name: a.b\n",
	} {
		got, err := Parse(name, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Entry{}, "Line"), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWrongListsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"people.csv|":                                       "it is empty",
		"people.csv|name\n":                                 "there is nobody in it",
		"people.csv|nome\nx\n":                              "the column \"nome\" is unknown",
		"people.csv|name,name\nx,y\n":                       "is there twice",
		"people.csv|note\nx\n":                              "there is no column \"name\"",
		"people.csv|name\nok\nx y\n":                        "line 3: the name \"x y\"",
		"people.csv|name\nAnn\nann\n":                       "line 3: the name \"ann\" is in line 2 too",
		"people.csv|name,address\na,10.0.0.1\nb,10.0.0.1\n": "line 3: the address 10.0.0.1 is in line 2 too",
		"people.csv|name,address\na,10.0.0.256\n":           "line 2: the address \"10.0.0.256\" is none",
		"people.csv|name,address\na,::1\n":                  "line 2: the address \"::1\" is none",
		"people.csv|name,groups\na,x y\n":                   "line 2: the groups: the name \"x y\"",
		"people.csv|name,groups\na,x;x\n":                   "the group \"x\" is there twice",
		"people.csv|name,note\na,x,y\n":                     "wrong number of fields",
		"people.csv|name,note\na,\u202ex\n":                 "line 2: the note has",
		"people.yaml|":                                      "there is nobody in it",
		"people.yaml|name: x\n":                             "it is no list of people",
		"people.yaml|- x\n":                                 "line 1: it is no person",
		"people.yaml|- name: x\n  nome: y\n":                "the key \"nome\" is unknown",
		"people.yaml|- name: x\n  name: y\n":                "twice",
		"people.yaml|- name: x\n  groups: y\n":              "\"groups\" is no list",
		"people.yaml|- name: x\n  groups: [~]\n":            "\"groups\" is no list",
		"people.yaml|- name: !!binary YWRtaW4=\n":           "there is a tag (\"!...\") in line 1",
		"people.yaml|- name: x\n  groups:\n    - !x y\n":    "there is a tag (\"!...\") in line 3",
		"people.yaml|- !!map\n  name: x\n":                  "there is a tag (\"!...\")",
		"people.yaml|- name: ~\n":                           "\"name\" is no text",
		"people.yaml|- name: x\n---\n- name: y\n":           "second document",
		"people.yaml|- name: DEFAULT\n":                     "is reserved",
		"people.yaml|- [":                                   "reading YAML",
	} {
		name, body, _ := strings.Cut(text, "|")
		if _, err := Parse(name, []byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("people.csv", []byte("name,address\nann,auto\n"))
	f.Add("people.yml", []byte("- name: ann\n"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		entries, err := Parse(name, text)
		if err != nil {
			return
		}
		if len(entries) == 0 {
			t.Fatal("nobody, and no error")
		}
		for _, e := range entries {
			if err := check(e); err != nil || e.Line < 1 {
				t.Fatalf("%+v: %v", e, err)
			}
		}
	})
}
