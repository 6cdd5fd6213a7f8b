// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// disown wipes the state of another instance: this one was launched from an
// image that was made of it.
func (b boot) disown(disk store, id string) error {
	if id == "" {
		// On Nitro the firmware says it too, which cannot be away.
		if id = firmware(b.layout.assetTag()); !instanceID.fits(id) {
			id = ""
		}
	}
	known := false
	for _, link := range []string{b.layout.current(), b.layout.proven()} {
		g, ok := disk.read(link)
		known = known || ok
		if ok && id != "" && g.Instance != id {
			b.console.say("the state is of instance %s and this is %s: starting over", g.Instance, id)
			return disk.wipe()
		}
		machine := firmware(b.layout.productUUID())
		if ok && id == "" && g.Machine != "" && machine != "" && g.Machine != machine {
			return waitingFor(fmt.Errorf("looking for the owner of the state: it was made by instance %s on the machine %q, and this is the machine %q", g.Instance, g.Machine, machine),
				"it starts, or starts over, when the instance metadata service says which instance this is: enable it (http-endpoint=enabled)")
		}
	}
	if left, err := os.ReadDir(b.layout.generations()); err == nil && len(left) > 0 && !known {
		b.console.say("there is a state that is of no known instance: starting over")
		return disk.wipe()
	}
	return nil
}

// firmware reads one of the firmware's words about the machine.
func firmware(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// wipe removes everything that was made for another instance, and puts the
// image's own rules back, for the packet filter to take up. A crash on the way
// leaves what makes the next boot begin again: the links go last.
func (s store) wipe() error {
	if err := s.setWaiting(filterUnit); err != nil {
		return err
	}
	for name, data := range map[string][]byte{rules4: baseRules(), rules6: closedRules6()} {
		if err := replaceFile(filepath.Join(s.layout.rules(), name), data, 0o600); err != nil {
			return err
		}
	}
	for _, path := range []string{s.layout.generations(), s.layout.failed(), s.layout.result(), s.layout.sync(), s.layout.current(), s.layout.proven()} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("removing the state of another instance: %w", err)
		}
		if err := syncFolder(s.layout.state()); err != nil {
			return err
		}
	}
	return nil
}
