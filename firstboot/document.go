// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"

	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"gopkg.in/yaml.v3"
)

// documentKeys are all keys that the user-data may have.
func documentKeys() []string {
	return []string{"role", "secret", "network", "routes", "port", "proto", "dns", "nat", "addresses", "ssh", "egress", "health"}
}

const (
	// maxRoutes: each is a line in the push reply, of which OpenVPN's control
	// channel carries some kilobytes, and a rule in the packet filter.
	maxRoutes = 64
	// maxDNS: a resolver takes no more (resolv.conf(5), MAXNS).
	maxDNS = 3
)

// document is the YAML of the user-data, taken apart key by key, so that each
// problem can be told with the key's name, its value and what is allowed.
type document struct {
	values   map[string]*yaml.Node
	taken    map[string]bool
	problems []error
}

func parseDocument(text []byte) (*document, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second YAML document (a line \"---\"): one is allowed")
	}
	d := &document{values: map[string]*yaml.Node{}, taken: map[string]bool{}}
	if len(root.Content) == 0 {
		return d, nil
	}
	top := root.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, errors.New("it is not made of \"key: value\" lines: allowed are the keys " + quoted(documentKeys()))
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i].Value, top.Content[i+1]
		switch {
		case top.Content[i].Kind != yaml.ScalarNode || !slices.Contains(documentKeys(), key):
			d.problem(key, "is unknown: allowed are "+quoted(documentKeys()))
		case d.values[key] != nil:
			d.problem(key, fmt.Sprintf("is there twice (again on line %d)", top.Content[i].Line))
		default:
			d.values[key] = value
		}
	}
	return d, nil
}

func (d *document) problem(key, text string) {
	d.problems = append(d.problems, fmt.Errorf("%q %s", key, text))
}

// take returns the node of a key, or nil when it is not there.
func (d *document) take(key string) *yaml.Node {
	d.taken[key] = true
	return d.values[key]
}

// refuseRest refuses the keys that were not taken.
func (d *document) refuseRest(why string) {
	for _, key := range documentKeys() {
		if d.values[key] != nil && !d.taken[key] {
			d.problem(key, why)
		}
	}
}

// show is the value as the person wrote it, near enough to be found again.
func show(node *yaml.Node) string {
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Tag == "!!null" {
			return "nothing"
		}
		return strconv.Quote(node.Value)
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	default:
		return "a reference"
	}
}

// scalar returns the text of a value of the wanted YAML type.
func (d *document) scalar(key string, node *yaml.Node, tag, allowed string) (string, bool) {
	if node.Kind != yaml.ScalarNode || node.Tag != tag {
		d.problem(key, fmt.Sprintf("is %s (line %d): allowed is %s", show(node), node.Line, allowed))
		return "", false
	}
	return node.Value, true
}

// word takes one of a few words; an empty byDefault makes the key required.
func (d *document) word(key, byDefault string, allowed ...string) string {
	words := "one of " + quoted(allowed)
	node := d.take(key)
	if node == nil {
		if byDefault == "" {
			d.problem(key, "is missing: required is "+words)
		}
		return byDefault
	}
	text, ok := d.scalar(key, node, "!!str", words)
	if ok && !slices.Contains(allowed, text) {
		d.problem(key, fmt.Sprintf("is %q (line %d): allowed is %s", text, node.Line, words))
		return ""
	}
	return text
}

func (d *document) port(key string, byDefault uint16) uint16 {
	allowed := fmt.Sprintf("a whole number from %d to 65535, without quotes", lowestPort)
	node := d.take(key)
	if node == nil {
		return byDefault
	}
	text, ok := d.scalar(key, node, "!!int", allowed)
	if !ok {
		return 0
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number < lowestPort {
		d.problem(key, fmt.Sprintf("is %q (line %d): allowed is %s (the daemon has no right to lower ports)", text, node.Line, allowed))
		return 0
	}
	return uint16(number)
}

func (d *document) prefix(key, byDefault string) netip.Prefix {
	node := d.take(key)
	if node == nil {
		if byDefault == "" {
			return netip.Prefix{}
		}
		return netip.MustParsePrefix(byDefault)
	}
	return d.network(key, node)
}

func (d *document) network(key string, node *yaml.Node) netip.Prefix {
	const allowed = "an IPv4 network such as \"10.0.255.0/24\""
	text, ok := d.scalar(key, node, "!!str", allowed)
	if !ok {
		return netip.Prefix{}
	}
	network, err := netip.ParsePrefix(text)
	switch {
	case err != nil || !network.Addr().Is4():
		d.problem(key, fmt.Sprintf("is %q (line %d): allowed is %s", text, node.Line, allowed))
		return netip.Prefix{}
	case network.Masked() != network:
		d.problem(key, fmt.Sprintf("is %q (line %d), an address in the network %q: allowed is %s", text, node.Line, network.Masked(), allowed))
		return netip.Prefix{}
	}
	return network
}

// list returns the entries of a key that is a list.
func (d *document) list(key, allowed string, most int) []*yaml.Node {
	node := d.take(key)
	switch {
	case node == nil:
		return nil
	case node.Kind != yaml.SequenceNode:
		d.problem(key, fmt.Sprintf("is %s (line %d): allowed is %s", show(node), node.Line, allowed))
		return nil
	case len(node.Content) < 1 || len(node.Content) > most:
		d.problem(key, fmt.Sprintf("is a list of %d (line %d): allowed are 1 to %d entries, or leave the key out", len(node.Content), node.Line, most))
		return nil
	}
	return node.Content
}

func (d *document) prefixes(key string, byDefault []netip.Prefix) []netip.Prefix {
	if d.values[key] == nil {
		d.taken[key] = true
		return byDefault
	}
	var networks []netip.Prefix
	for i, node := range d.list(key, "a list of IPv4 networks such as [\"10.0.0.0/16\"]", maxRoutes) {
		if network := d.network(fmt.Sprintf("%s[%d]", key, i), node); network.IsValid() {
			networks = append(networks, network)
		}
	}
	return networks
}

func (d *document) addresses(key string) []netip.Addr {
	var addresses []netip.Addr
	for i, node := range d.list(key, "a list of IPv4 addresses such as [\"10.0.0.2\"]", maxDNS) {
		name := fmt.Sprintf("%s[%d]", key, i)
		const allowed = "an IPv4 address such as \"10.0.0.2\""
		text, ok := d.scalar(name, node, "!!str", allowed)
		if !ok {
			continue
		}
		address, err := netip.ParseAddr(text)
		if err != nil || !address.Is4() {
			d.problem(name, fmt.Sprintf("is %q (line %d): allowed is %s", text, node.Line, allowed))
			continue
		}
		addresses = append(addresses, address)
	}
	return addresses
}

// secret takes a prefix, or a mapping with the two names or ARNs.
func (d *document) secret(region string) SecretNames {
	const allowed = "a prefix such as \"vpn/office\", or a mapping with \"server\" and \"access\", each an ARN"
	node := d.take("secret")
	if node == nil {
		d.problem("secret", "is missing: required with the role vpn is "+allowed)
		return SecretNames{}
	}
	if node.Kind != yaml.MappingNode {
		prefix, ok := d.scalar("secret", node, "!!str", allowed)
		if !ok {
			return SecretNames{}
		}
		if err := bundle.CheckPrefix(prefix); err != nil {
			d.problem("secret", fmt.Sprintf("is refused (line %d): %v", node.Line, err))
		}
		return SecretNames{Server: bundle.ServerID(prefix), Access: bundle.AccessID(prefix)}
	}
	var names SecretNames
	into := map[string]*string{"server": &names.Server, "access": &names.Access}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i].Value, node.Content[i+1]
		name := "secret." + key
		switch target := into[key]; {
		case target == nil:
			d.problem(name, "is unknown: allowed are \"server\" and \"access\"")
		case *target != "":
			d.problem(name, "is there twice")
		default:
			*target = d.arn(name, value, region)
		}
	}
	if names.Server != "" && names.Server == names.Access {
		d.problem("secret", fmt.Sprintf("names %q twice (line %d): allowed are two secrets, one for the server and one for the access", names.Server, node.Line))
	}
	for _, key := range []string{"server", "access"} {
		if *into[key] == "" {
			d.problem("secret."+key, "is missing or refused: required is the ARN of the secret")
		}
	}
	return names
}

// secretARN is documented at
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecretsmanager.html
var secretARN = regexp.MustCompile(`^arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:([A-Za-z0-9/_+=.@-]+)$`)

// maxSecretName stands here because a repetition counted to it in the
// expression takes milliseconds to compile, at every start of the program.
const maxSecretName = 512

func (d *document) arn(key string, node *yaml.Node, region string) string {
	const allowed = "an ARN such as \"arn:aws:secretsmanager:REGION:ACCOUNT:secret:vpn/office/server-AbCdEf\""
	text, ok := d.scalar(key, node, "!!str", allowed)
	if !ok {
		return ""
	}
	parts := secretARN.FindStringSubmatch(text)
	if parts == nil || len(parts[2]) > maxSecretName {
		d.problem(key, fmt.Sprintf("is %q (line %d): allowed is %s", text, node.Line, allowed))
		return ""
	}
	if parts[1] != region {
		d.problem(key, fmt.Sprintf("is %q (line %d), of the region %q: allowed is a secret of the instance's own region %q (replicate it)", text, node.Line, parts[1], region))
	}
	return text
}
