// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package hardening

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReasonsLoad(t *testing.T) {
	r, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if r.OpenSCAP.Least < 95 || r.OpenSCAP.Applicable < 50 || r.Lynis.Least < 80 || r.Exposure.Most > 6 {
		t.Errorf("the bounds are weaker than what is promised: %+v", r)
	}
}

func TestReasonsRefuse(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a reason that is none":   {"lynis: {left: {ACCT-9622: later}}", `"ACCT-9622" has no reason`},
		"an unknown key":          {"lynis: {ignore: {}}", "field ignore not found"},
		"of a container, without": {"exposure: {container: [a.service]}", `"a.service" is said to be of one engine, and has no reason`},
		"a second document":       {"lynis: {}\n---\n{}", "a second document"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseReasons([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

const someReason = "because somebody has thought about it"

func results(lines ...string) string {
	var b strings.Builder
	b.WriteString(`<Benchmark xmlns="http://checklists.nist.gov/xccdf/1.2"><TestResult>`)
	for _, l := range lines {
		name, result, _ := strings.Cut(l, " ")
		b.WriteString(`<rule-result idref="xccdf_org.ssgproject.content_rule_` + name + `"><result>` + result + `</result></rule-result>`)
	}
	b.WriteString(`</TestResult></Benchmark>`)
	return b.String()
}

func TestOpenSCAP(t *testing.T) {
	c, err := ParseOpenSCAP(strings.NewReader(results("b pass", "a fail", "c error", "d notapplicable", "e notselected", "f unknown", "g notchecked")))
	if err != nil {
		t.Fatal(err)
	}
	want := Compliance{Passed: []string{"b"}, Failed: []string{"a", "c", "f"}, Other: 2}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	for name, bad := range map[string]string{"an unknown result": results("a maybe"), "half a file": results("a pass")[:60]} {
		if _, err := ParseOpenSCAP(strings.NewReader(bad)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestJudgeOpenSCAP(t *testing.T) {
	var r Reasons
	r.OpenSCAP.Least, r.OpenSCAP.Applicable = 50, 2
	r.OpenSCAP.Exceptions = map[string]string{"a": someReason}
	for name, c := range map[string]struct {
		found Compliance
		wrong []string
	}{
		"as wanted":            {Compliance{Passed: []string{"b"}, Failed: []string{"a"}}, nil},
		"nothing applies":      {Compliance{Other: 300}, []string{"a has a reason in reasons.yaml that is not needed", "only 0 rules apply", "0.0 % of the rules"}},
		"an exception is fine": {Compliance{Passed: []string{"a", "b"}}, []string{"a has a reason in reasons.yaml that is not needed"}},
		"a new failure":        {Compliance{Passed: []string{"b", "d"}, Failed: []string{"a", "c"}}, []string{"c fails, and reasons.yaml has no reason"}},
		"too many":             {Compliance{Passed: nil, Failed: []string{"a", "c"}}, []string{"c fails", "0.0 % of the rules"}},
	} {
		t.Run(name, func(t *testing.T) { sameWrong(t, r.JudgeOpenSCAP(c.found), c.wrong) })
	}
}

func TestLynis(t *testing.T) {
	a, err := ParseLynis(strings.NewReader("# Lynis Report\nlynis_tests_done=241\nhardening_index=83\nsuggestion[]=SSH-7408|Consider hardening SSH|Port (set 22 to )|-|\nsuggestion[]=SSH-7408|Consider hardening SSH|X|-|\nwarning[]=KRNL-5830|Reboot of system is most likely needed||text:reboot|\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Audit{Index: 83, Tests: 241, Left: []string{"KRNL-5830", "SSH-7408"}, Says: map[string][]string{
		"SSH-7408": {"Consider hardening SSH", "Consider hardening SSH"}, "KRNL-5830": {"Reboot of system is most likely needed"},
	}}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	if _, err := ParseLynis(strings.NewReader("hardening_index=much\n")); err == nil {
		t.Error("an index that is no number is taken")
	}
	var r Reasons
	r.Lynis.Least, r.Lynis.Tests, r.Lynis.Left = 80, 200, map[string]string{"SSH-7408": someReason, "ACCT-9622": someReason}
	sameWrong(t, r.JudgeLynis(a), []string{"KRNL-5830 is left by Lynis", "ACCT-9622 has a reason in reasons.yaml that is not needed"})
	sameWrong(t, r.JudgeLynis(Audit{Left: []string{"ACCT-9622", "SSH-7408"}}), []string{"only 0 tests", "index is 0"})
}

func TestExposure(t *testing.T) {
	e, err := ParseExposures("  NAME DESCRIPTION\n→ Overall exposure level for ssh.service: 9.6 UNSAFE 😨\n\n→ Overall exposure level for a.service: 1.7 OK :-)\n→ Overall exposure level for b.service: 6.0 MEDIUM\n")
	if err != nil {
		t.Fatal(err)
	}
	var r Reasons
	r.Exposure.Most, r.Exposure.Units, r.Exposure.Exceptions = 6, map[string]float64{"a.service": 1.7}, map[string]string{"ssh.service": someReason}
	sameWrong(t, r.JudgeExposure(e), nil)
	r.Exposure.Units = map[string]float64{"a.service": 1.5, "gone.service": 1.5}
	r.Exposure.Exceptions = map[string]string{"b.service": someReason, "serial-getty@ttyS0.service": someReason}
	sameWrong(t, r.JudgeExposure(e), []string{"a.service is exposed at 1.7", "ssh.service is exposed at 9.6", "gone.service was not measured"})
	for _, bad := range []string{"", "Unit x.service not found.", "Overall exposure level for x.service: 1.2.3 OK"} {
		if _, err := ParseExposures(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A reason is needed where any image does, of those that can have the unit.
func TestExcused(t *testing.T) {
	var r Reasons
	r.Exposure.Most = 6
	r.Exposure.Exceptions = map[string]string{"old.service": someReason, "both.service": someReason, "boxed.service": someReason, "disk.service": someReason, "gone.service": someReason, "mended.service": someReason}
	r.Exposure.Container, r.Exposure.Machine = []string{"boxed.service"}, []string{"disk.service"}
	older := Exposures{"old.service": 9, "both.service": 7, "mended.service": 6}
	newer := Exposures{"both.service": 6, "mended.service": 2}
	sameWrong(t, r.OnMachine().JudgeExcused(older, newer, Exposures{"disk.service": 7}), []string{"gone.service has a reason", "mended.service has a reason"})
	sameWrong(t, r.InContainer().JudgeExcused(newer, older), []string{"boxed.service has a reason", "gone.service has a reason", "mended.service has a reason"})
	sameWrong(t, r.InContainer().JudgeExcused(newer), []string{"both.service has", "boxed.service has", "gone.service has", "mended.service has", "old.service has"})
}

// What an image does not decide counts for nothing, but its reason has to stand.
func TestJudgeElsewhere(t *testing.T) {
	var r Reasons
	r.OpenSCAP.Least = 95
	r.OpenSCAP.Elsewhere = map[string]string{"a": someReason}
	sameWrong(t, r.JudgeOpenSCAP(Compliance{Passed: []string{"b"}, Failed: []string{"a"}}), nil)
	sameWrong(t, r.JudgeOpenSCAP(Compliance{Passed: []string{"a", "b"}}), []string{"a has a reason"})
}

func TestInContainer(t *testing.T) {
	var r Reasons
	r.OpenSCAP.Kernel, r.OpenSCAP.Exceptions = []string{"k", "e"}, map[string]string{"e": someReason}
	r.Lynis.Kernel, r.Lynis.Left, r.Lynis.LeastInContainer = []string{"K"}, map[string]string{"K": someReason}, 70
	in := r.InContainer()
	c := Compliance{Passed: []string{"b"}, Failed: []string{"e", "k"}}.Without(r.OpenSCAP.Kernel...)
	sameWrong(t, in.JudgeOpenSCAP(c), nil)
	sameWrong(t, in.JudgeLynis(Audit{Index: 70, Left: []string{"K"}}.Without(r.Lynis.Kernel...)), nil)
	sameWrong(t, r.JudgeOpenSCAP(Compliance{Passed: []string{"b"}, Failed: []string{"e", "k"}}), []string{"k fails"})
	if c.Other != 2 {
		t.Errorf("what is left out is not counted: %+v", c)
	}
}

func sameWrong(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

func FuzzParseLynis(f *testing.F) {
	f.Add("hardening_index=83\nsuggestion[]=A|b|c|\n")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = ParseLynis(strings.NewReader(text)) })
}

func FuzzParseOpenSCAP(f *testing.F) {
	f.Add(results("a pass", "b fail"))
	f.Fuzz(func(_ *testing.T, text string) { _, _ = ParseOpenSCAP(strings.NewReader(text)) })
}
