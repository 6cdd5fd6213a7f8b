// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package hardening

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
)

// Exposures are services with what "systemd-analyze security" says of them: 0 is
// safe, 10 is a program of root that may do everything.
type Exposures map[string]float64

// exposure is the last line of "systemd-analyze security UNIT".
var exposure = regexp.MustCompile(`Overall exposure level for (\S+): ([0-9.]+)`)

// ParseExposures reads what "systemd-analyze security UNIT..." prints.
func ParseExposures(text string) (Exposures, error) {
	all := Exposures{}
	for _, found := range exposure.FindAllStringSubmatch(text, -1) {
		level, err := strconv.ParseFloat(found[2], 64)
		if err != nil {
			return nil, fmt.Errorf("reading the exposure of %q: %w", found[1], err)
		}
		all[found[1]] = level
	}
	if len(all) == 0 {
		return nil, errors.New("reading the exposure of units: systemd-analyze tells of none")
	}
	return all, nil
}

// JudgeExposure tells what is wrong with the services of one image that are enabled
// or run. Which reasons are needed, all images together tell: see [Reasons.JudgeExcused].
func (r Reasons) JudgeExposure(e Exposures) []string {
	var wrong []string
	for _, unit := range slices.Sorted(maps.Keys(e)) {
		most, own := r.Exposure.Units[unit]
		_, excused := r.Exposure.Exceptions[unit]
		switch {
		case own && e[unit] > most:
			wrong = append(wrong, fmt.Sprintf("%s is exposed at %.1f, at most %.1f is wanted", unit, e[unit], most))
		case !own && !excused && e[unit] > r.Exposure.Most:
			wrong = append(wrong, fmt.Sprintf("%s is exposed at %.1f, above %.1f, and reasons.yaml has no reason for it", unit, e[unit], r.Exposure.Most))
		}
	}
	for _, unit := range slices.Sorted(maps.Keys(r.Exposure.Units)) {
		if _, measured := e[unit]; !measured {
			wrong = append(wrong, fmt.Sprintf("%s was not measured", unit))
		}
	}
	return wrong
}

// JudgeExcused tells which reasons no image needs: none has that unit, or none has it
// exposed. The releases have other units, so all of them are given, of one engine.
func (r Reasons) JudgeExcused(images ...Exposures) []string {
	var exposed []string
	for _, e := range images {
		for unit, level := range e {
			if level > r.Exposure.Most {
				exposed = append(exposed, unit)
			}
		}
	}
	needed := func(unit string) bool { return slices.Contains(exposed, unit) }
	var wrong []string
	for _, unit := range slices.Sorted(maps.Keys(r.Exposure.Exceptions)) {
		if !needed(unit) {
			wrong = append(wrong, fmt.Sprintf("%s has a reason in reasons.yaml, and no image that was measured needs it: take it out", unit))
		}
	}
	return wrong
}
