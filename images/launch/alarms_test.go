// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package launch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// signals are those that the program on the instance sets, by its own sources: a tag
// that was renamed there would leave an alarm here that never comes.
func signals(t *testing.T) []Signal {
	t.Helper()
	files, err := filepath.Glob("../../firstboot/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the sources of firstboot: %v", err)
	}
	constants := map[string]string{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for i, name := range spec.Names {
					if i < len(spec.Values) {
						if text, ok := spec.Values[i].(*ast.BasicLit); ok && text.Kind == token.STRING {
							constants[name.Name], _ = strconv.Unquote(text.Value)
						}
					}
				}
			}
			return true
		})
	}
	want := []Signal{
		{constants["statusTag"], constants["Ready"]},
		{constants["certificateTag"], constants["signalGood"]},
		{constants["syncTag"], constants["signalGood"]},
	}
	for _, s := range want {
		if !strings.HasPrefix(s.Tag, "vpnami:status") || s.Good == "" {
			t.Fatalf("firstboot has no such signals: %v", want)
		}
	}
	return want
}

func TestUnwatched(t *testing.T) {
	const (
		pattern = `{"source": ["aws.tag"], "detail": {"changed-tag-keys": ["it"], "tags": {"vpnami:launch": ["vpn"], "it": [{"anything-but": ["good"]}]}}}`
		alarm   = `{"address": "c", "type": "aws_cloudwatch_metric_alarm", "values": {"namespace": "AWS/Events", "metric_name": "TriggeredRules", "statistic": "Sum", "comparison_operator": "GreaterThanThreshold", "threshold": 0, "dimensions": {"RuleName": "r"}}}`
		target  = `{"address": "b", "type": "aws_cloudwatch_event_target", "values": {"rule": "r"}}`
	)
	rule := func(pattern string) string {
		return fmt.Sprintf(`{"address": "a", "type": "aws_cloudwatch_event_rule", "values": {"name": "r", "event_pattern": %q}}`, pattern)
	}
	for name, c := range map[string]struct {
		resources []string
		want      string
	}{
		"watched":                   {[]string{rule(pattern), target, alarm}, ""},
		"no rule":                   {[]string{target, alarm}, "no alarm is raised"},
		"no target":                 {[]string{rule(pattern), alarm}, "no alarm is raised"},
		"no alarm":                  {[]string{rule(pattern), target}, "no alarm is raised"},
		"the alarm of another rule": {[]string{rule(pattern), target, strings.ReplaceAll(alarm, `"r"`, `"s"`)}, "no alarm is raised"},
		"another tag":               {[]string{rule(strings.ReplaceAll(pattern, `"it"`, `"that"`)), target, alarm}, "no alarm is raised"},
		"another launch":            {[]string{rule(strings.ReplaceAll(pattern, `"vpn"`, `"office"`)), target, alarm}, "no alarm is raised"},
		"another source":            {[]string{rule(strings.ReplaceAll(pattern, "aws.tag", "aws.ec2")), target, alarm}, "no alarm is raised"},
		"another good":              {[]string{rule(strings.ReplaceAll(pattern, `"good"`, `"ready"`)), target, alarm}, `is raised when it is "good"`},
		"every launch":              {[]string{rule(strings.ReplaceAll(pattern, `"vpnami:launch": ["vpn"], `, "")), target, alarm}, "or by another launch"},
		"an operator not known":     {[]string{rule(strings.ReplaceAll(pattern, "anything-but", "exists")), target, alarm}, "no alarm is raised"},
	} {
		plan := `{"planned_values": {"root_module": {"child_modules": [{"resources": [` + strings.Join(c.resources, ",") + `]}]}}}`
		found, err := Unwatched([]byte(plan), "vpn", []Signal{{"it", "good"}})
		if got := strings.Join(found, "\n"); err != nil || c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: found %q, %v; want %q", name, got, err, c.want)
		}
	}
}

// TestSignals: those of the sources are found, where no plan is made.
func TestSignals(t *testing.T) { _ = signals(t) }
