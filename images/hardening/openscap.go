// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package hardening

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Compliance is what OpenSCAP found: the rules of the profile, by their short
// names, sorted.
type Compliance struct {
	Passed, Failed []string
	// Other counts the rules that do not apply, or have to be judged by a person.
	Other int
}

// Applicable is how many rules passed or failed.
func (c Compliance) Applicable() int { return len(c.Passed) + len(c.Failed) }

// Percent is the part of the applicable rules that passed.
func (c Compliance) Percent() float64 {
	if c.Applicable() == 0 {
		return 0
	}
	return 100 * float64(len(c.Passed)) / float64(c.Applicable())
}

func (c Compliance) String() string {
	return fmt.Sprintf("%.1f %% (%d of %d applicable rules; %d more do not apply)", c.Percent(), len(c.Passed), c.Applicable(), c.Other)
}

// ParseOpenSCAP reads XCCDF 1.2 results, as "oscap xccdf eval --results" writes
// them. A rule that could not be judged has failed.
func ParseOpenSCAP(r io.Reader) (Compliance, error) {
	var c Compliance
	d := xml.NewDecoder(r)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Compliance{}, fmt.Errorf("reading OpenSCAP's results: %w", err)
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "rule-result" {
			continue
		}
		var rule struct {
			ID     string `xml:"idref,attr"`
			Result string `xml:"result"`
		}
		if err := d.DecodeElement(&rule, &start); err != nil {
			return Compliance{}, fmt.Errorf("reading OpenSCAP's results: %w", err)
		}
		_, name, _ := strings.Cut(rule.ID, "_rule_")
		switch rule.Result {
		case "pass", "fixed":
			c.Passed = append(c.Passed, name)
		case "fail", "error", "unknown":
			c.Failed = append(c.Failed, name)
		case "notapplicable", "notselected", "informational", "notchecked":
			if rule.Result != "notselected" {
				c.Other++
			}
		default:
			return Compliance{}, fmt.Errorf("reading OpenSCAP's results: rule %q has the result %q, which XCCDF does not have", name, rule.Result)
		}
	}
	slices.Sort(c.Passed)
	slices.Sort(c.Failed)
	return c, nil
}

// Without leaves out rules, whatever came of them.
func (c Compliance) Without(rules ...string) Compliance {
	in := func(rule string) bool { return slices.Contains(rules, rule) }
	before := c.Applicable()
	c.Passed = slices.DeleteFunc(slices.Clone(c.Passed), in)
	c.Failed = slices.DeleteFunc(slices.Clone(c.Failed), in)
	c.Other += before - c.Applicable()
	return c
}

// JudgeOpenSCAP tells what is wrong with a measure. Of the rules that an image
// decides, the wanted part has to pass; of all rules, each that fails has to have
// its reason.
func (r Reasons) JudgeOpenSCAP(c Compliance) []string {
	reasons := map[string]string{}
	maps.Copy(reasons, r.OpenSCAP.Exceptions)
	maps.Copy(reasons, r.OpenSCAP.Elsewhere)
	wrong := compare("fails", c.Failed, reasons)
	if n := c.Applicable(); n < r.OpenSCAP.Applicable {
		wrong = append(wrong, fmt.Sprintf("only %d rules apply, where %d should: OpenSCAP has not looked at the image", n, r.OpenSCAP.Applicable))
	}
	own := c.Without(slices.Collect(maps.Keys(r.OpenSCAP.Elsewhere))...)
	if p := own.Percent(); p < r.OpenSCAP.Least {
		wrong = append(wrong, fmt.Sprintf("%.1f %% of the rules pass that an image decides, at least %.1f %% should", p, r.OpenSCAP.Least))
	}
	return wrong
}
