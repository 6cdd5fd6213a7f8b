// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// contents is what there is to publish.
func contents(folder authority.Folder, people []authority.Person, standing authority.Standing, now time.Time) (bundle.Server, bundle.Access, error) {
	server, err := folder.Server()
	if err != nil {
		return bundle.Server{}, bundle.Access{}, err
	}
	lists, err := folder.CRLs(now)
	if err != nil {
		return bundle.Server{}, bundle.Access{}, err
	}
	access := bundle.Access{CRL: lists[0]}
	if len(lists) > 1 {
		access.PreviousCRL = lists[1]
	}
	for _, p := range people {
		live := standing.Live(p)
		if len(live) == 0 {
			continue // no serial at all would mean any
		}
		person, err := p.Access(live)
		if err != nil {
			return bundle.Server{}, bundle.Access{}, err
		}
		access.Roster = append(access.Roster, person)
	}
	// What [bundle.Open] cannot judge: the network is in the launch, not in a secret.
	if err := planOf(folder).Judge(access.Roster); err != nil {
		return bundle.Server{}, bundle.Access{}, fmt.Errorf("the gateway would refuse what there is to publish: %w: \"vpnami-pki roster set NAME --ip none\" takes it away, and then \"--ip auto\" gives the next that is free", err)
	}
	return server, access, nil
}

// checkTaken refuses what no gateway would take: it is read as the gateway reads it.
func checkTaken(server bundle.Server, access bundle.Access, now time.Time) error {
	server.Generation = 1
	sealed, err := bundle.Seal(server, access, "check", server.Generation)
	if err == nil {
		_, _, err = bundle.Open(sealed.Server, sealed.Head, sealed.Shards, now)
	}
	if err != nil {
		return fmt.Errorf("the gateway would refuse what there is to publish: %w: if a file was put there by hand, put back the right one; \"vpnami-pki renew-server\" makes the gateway's own anew", err)
	}
	return nil
}
