// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package launch

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Signal is a tag of a gateway, and its value when all is well.
type Signal struct{ Tag, Good string }

// Unwatched reads a plan as "terraform show -json" writes it and tells what keeps an
// alarm from being raised by each of the signals: a rule whose pattern the change of
// the tag does not match, a rule without a target, which EventBridge does not count,
// an alarm that counts another rule. Sorted; nothing where all are watched.
func Unwatched(plan []byte, launch string, signals []Signal) ([]string, error) {
	var p Plan
	if err := json.Unmarshal(plan, &p); err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	rules, err := readRules(p.Planned.Root)
	if err != nil {
		return nil, err
	}
	var findings []string
	for _, s := range signals {
		raised, quiet := false, true
		for _, r := range rules {
			if !r.targeted || !r.counted {
				continue
			}
			raised = raised || r.pattern.Matches(TagChange(s.Tag, map[string]string{"vpnami:launch": launch, s.Tag: "not " + s.Good}))
			quiet = quiet && !r.pattern.Matches(TagChange(s.Tag, map[string]string{"vpnami:launch": launch, s.Tag: s.Good})) &&
				!r.pattern.Matches(TagChange(s.Tag, map[string]string{"vpnami:launch": "another", s.Tag: "not " + s.Good}))
		}
		if !raised {
			findings = append(findings, fmt.Sprintf("no alarm is raised when %s is other than %q", s.Tag, s.Good))
		}
		if !quiet {
			findings = append(findings, fmt.Sprintf("an alarm is raised when %s is %q, or by another launch", s.Tag, s.Good))
		}
	}
	slices.Sort(findings)
	return findings, nil
}

// rule is one of EventBridge's.
type rule struct {
	pattern  Pattern
	targeted bool // it has a target, without which it is not counted
	counted  bool // an alarm counts it
}

// readRules finds the rules of a module, by name.
func readRules(m Module) (map[string]*rule, error) {
	rules := map[string]*rule{}
	of := func(name any) *rule {
		key := fmt.Sprint(name)
		if rules[key] == nil {
			rules[key] = &rule{}
		}
		return rules[key]
	}
	var read func(Module) error
	read = func(m Module) error {
		for _, r := range m.Resources {
			switch r.Type {
			case "aws_cloudwatch_event_rule":
				text, _ := r.Values["event_pattern"].(string)
				if err := json.Unmarshal([]byte(text), &of(r.Values["name"]).pattern); err != nil {
					return fmt.Errorf("reading the pattern of %s: %w", r.Address, err)
				}
			case "aws_cloudwatch_event_target":
				of(r.Values["rule"]).targeted = true
			case "aws_cloudwatch_metric_alarm":
				dimensions, _ := r.Values["dimensions"].(map[string]any)
				if r.Values["namespace"] == "AWS/Events" && r.Values["metric_name"] == "TriggeredRules" && r.Values["statistic"] == "Sum" &&
					r.Values["comparison_operator"] == "GreaterThanThreshold" && r.Values["threshold"] == float64(0) {
					of(dimensions["RuleName"]).counted = true
				}
			}
		}
		for _, child := range m.Children {
			if err := read(child); err != nil {
				return err
			}
		}
		return nil
	}
	return rules, read(m)
}

// Event is EventBridge's of a changed tag, as far as patterns here look at it:
// https://docs.aws.amazon.com/tag-editor/latest/userguide/monitor-tag-changes.html
type Event map[string]any

// TagChange is the event of an instance one of whose tags has changed.
func TagChange(changed string, tags map[string]string) Event {
	all := map[string]any{}
	for key, value := range tags {
		all[key] = value
	}
	return Event{"source": "aws.tag", "detail-type": "Tag Change on Resource", "detail": map[string]any{
		"changed-tag-keys": []any{changed}, "service": "ec2", "resource-type": "instance", "tags": all,
	}}
}

// Pattern is an event pattern.
type Pattern map[string]any

// Matches tells whether a rule with the pattern is triggered by the event. It knows
// of EventBridge's language what this module uses: values, "prefix", "anything-but"
// a list of values; what else there is, it does not match.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
func (p Pattern) Matches(e Event) bool { return len(p) > 0 && matches(p, e) }

func matches(pattern, event map[string]any) bool {
	for field, want := range pattern {
		got, there := event[field]
		if !there {
			return false
		}
		switch want := want.(type) {
		case map[string]any:
			inner, ok := got.(map[string]any)
			if !ok || !matches(want, inner) {
				return false
			}
		case []any:
			values, ok := got.([]any)
			if !ok {
				values = []any{got}
			}
			if !slices.ContainsFunc(values, func(value any) bool {
				return slices.ContainsFunc(want, func(one any) bool { return matchesValue(one, value) })
			}) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func matchesValue(want, got any) bool {
	operator, ok := want.(map[string]any)
	if !ok {
		return want == got
	}
	text, _ := got.(string)
	if prefix, ok := operator["prefix"].(string); ok {
		return len(text) >= len(prefix) && text[:len(prefix)] == prefix
	}
	others, ok := operator["anything-but"].([]any)
	return ok && !slices.Contains(others, got)
}
