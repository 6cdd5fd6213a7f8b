// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
)

// Owner is whose an address is, as a log of the VPC has it.
type Owner struct {
	Address netip.Addr `json:"address"`
	Tunnel  netip.Addr `json:"tunnel,omitzero"` // zero: of nobody in the tunnel
	Names   []string   `json:"names"`           // of the roster as it is in force
}

// runWhose goes from addresses in a log of the VPC to people. Which tunnel address one
// stands for never changes; whose that is, the roster says.
func runWhose(args []string, out, failed io.Writer) int {
	flags := flag.NewFlagSet("whose", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	asJSON := flags.Bool("json", false, "")
	root := flags.String("root", "/", "")
	if err := flags.Parse(args); err != nil {
		return misused(failed, err)
	}
	var addresses []netip.Addr
	for _, word := range flags.Args() {
		address, err := netip.ParseAddr(word)
		if err != nil || !address.Is4() {
			return misused(failed, fmt.Errorf("%q is no IPv4 address", word))
		}
		addresses = append(addresses, address)
	}
	if len(addresses) == 0 {
		return misused(failed, errors.New("whose takes one address or more, as a log of the VPC has them"))
	}
	owners, err := whose(layout{root: *root}, addresses)
	if err != nil {
		_, _ = fmt.Fprintf(failed, "vpnami-firstboot: %v\n", err)
		return exitFound
	}
	if *asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(owners)
	} else {
		for _, owner := range owners {
			_, err = fmt.Fprintf(out, "%-15s %s\n", owner.Address, owner)
		}
	}
	for _, owner := range owners {
		if err != nil || len(owner.Names) == 0 {
			return exitFound
		}
	}
	return exitReady
}

func (o Owner) String() string {
	switch {
	case !o.Tunnel.IsValid():
		return "is nobody's: people without an address of their own have the gateway's"
	case len(o.Names) == 0:
		return fmt.Sprintf("%-15s is nobody's on the roster", o.Tunnel)
	}
	return fmt.Sprintf("%-15s %s", o.Tunnel, strings.Join(o.Names, ", "))
}

func whose(where layout, addresses []netip.Addr) ([]Owner, error) {
	result, err := readResult(where.result())
	if err != nil {
		return nil, err
	}
	if result.Own == nil {
		return nil, fmt.Errorf("this instance translates nobody to an address of their own: that is \"nat: %s\"", natPerClient)
	}
	names, err := fixedAddresses(filepath.Join(where.current(), "ccd"))
	if err != nil {
		return nil, err
	}
	owners := []Owner{}
	for _, address := range addresses {
		owner := Owner{Address: address, Names: []string{}}
		// What is not assigned now may have been when the log was written.
		for _, piece := range slices.Concat(result.Own.Pieces, result.Own.Missing) {
			if piece.VPC.Contains(address) {
				owner.Tunnel = piece.tunnel(address)
				owner.Names = append(owner.Names, names[owner.Tunnel]...)
			}
		}
		owners = append(owners, owner)
	}
	return owners, nil
}

// tunnel is the address of the tunnel that one of the VPC stands for.
func (p Piece) tunnel(address netip.Addr) netip.Addr {
	at := p.Tunnel.Addr()
	for other := p.VPC.Addr(); other != address; other = other.Next() {
		at = at.Next()
	}
	return at
}

// fixedAddresses reads who has which, of what the daemon gives them by.
func fixedAddresses(folder string) (map[netip.Addr][]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("reading who has which address (as root): %w", err)
	}
	names := map[netip.Addr][]string{}
	for _, entry := range entries {
		if entry.Name() == bundle.ProbeName {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading who has which address (as root): %w", err)
		}
		words := bytes.Fields(data)
		if len(words) < 2 {
			continue // of the pool
		}
		address, err := netip.ParseAddr(string(words[1]))
		if err != nil {
			return nil, fmt.Errorf("reading which address %q has: %w", entry.Name(), err)
		}
		names[address] = append(names[address], entry.Name())
	}
	return names, nil
}
