// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
)

// change is one thing that a verb does to the account.
type change struct {
	// what is a phrase after "would" or "to": "deregister AMI ami-1".
	what string
	do   func(context.Context) error
}

// carryOut does the changes in their order, or says what they would be.
func (k *keeper) carryOut(ctx context.Context, region string, changes []change) error {
	for n, c := range changes {
		if !k.apply {
			k.say("%s: would %s", region, c.what)
			continue
		}
		if err := c.do(ctx); err != nil {
			return fmt.Errorf("%w (%d of %d changes in %s were done before)", err, n, len(changes), region)
		}
		k.say("%s: done: %s", region, c.what)
	}
	return nil
}

// adviseApply ends what was only said.
func (k *keeper) adviseApply() {
	if !k.apply {
		k.say("Nothing is changed. --apply does it.")
	}
}
