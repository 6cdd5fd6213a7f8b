// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// Instance is what the metadata service says of this machine.
type Instance struct {
	ID       string
	Region   string
	Address  netip.Addr // the primary private address
	Public   netip.Addr // zero where there is none
	MAC      string
	VPC      []netip.Prefix // the IPv4 blocks of the VPC
	VPC6     []netip.Prefix // its IPv6 blocks, mostly none
	Subnet   netip.Prefix
	Prefixes []netip.Prefix // assigned to the primary interface beside its address, mostly none
	Groups   []string       // security groups of the primary interface
	Beside   []string       // security groups of its other interfaces alone, mostly none
	UserData []byte         // nil: launched without
	Tags     LaunchTags
}

// LaunchTags are the instance's tags that say what it is to become, where the
// launch lets the metadata service show tags.
type LaunchTags struct{ Role, Secret string }

const (
	roleTag   = "vpnami:role"
	secretTag = "vpnami:secret"
)

// metadata is what identify needs of *imds.Client.
type metadata interface {
	GetInstanceIdentityDocument(context.Context, *imds.GetInstanceIdentityDocumentInput, ...func(*imds.Options)) (*imds.GetInstanceIdentityDocumentOutput, error)
	GetMetadata(context.Context, *imds.GetMetadataInput, ...func(*imds.Options)) (*imds.GetMetadataOutput, error)
	GetUserData(context.Context, *imds.GetUserDataInput, ...func(*imds.Options)) (*imds.GetUserDataOutput, error)
}

// answers are the raw texts of the metadata service.
type answers struct {
	id, region, address, public, mac, vpc, vpc6, subnet, groups string
	beside, prefixes                                            string
	userData                                                    []byte
	tags                                                        LaunchTags
}

// maxAnswer is above anything the metadata service says: user-data, the
// largest, is limited to 16 KiB
// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html).
const maxAnswer = 64 << 10

var errAbsent = errors.New("not there")

// identify asks the metadata service who this is.
func identify(ctx context.Context, service metadata) (Instance, error) {
	raw, err := ask(ctx, service)
	if err != nil {
		return Instance{}, waitingFor(fmt.Errorf("asking the instance metadata service: %w", err),
			"the instance must be launched with its metadata service enabled (http-endpoint=enabled); it is tried again by itself")
	}
	instance, err := parseInstance(raw)
	if err != nil {
		return Instance{}, waitingFor(fmt.Errorf("reading what the instance metadata service says: %w", err),
			"look at \"curl\" of that path on the instance; it is tried again by itself")
	}
	return instance, nil
}

// atOnce is how many questions are put at the same time: the metadata service
// and Secrets Manager slow down who asks hundreds a second.
const atOnce = 8

func ask(ctx context.Context, service metadata) (answers, error) {
	// By itself: it fetches the token, and tells whether there is a service.
	document, err := service.GetInstanceIdentityDocument(ctx, &imds.GetInstanceIdentityDocumentInput{})
	if err != nil {
		return answers{}, fmt.Errorf("reading the identity document: %w", explain(err))
	}
	a := answers{id: document.InstanceID, region: document.Region, address: document.PrivateIP}
	must := func(path string, into *string) func() error {
		return func() (err error) { *into, err = get(ctx, service, path); return err }
	}
	may := func(path string, into *string) func() error {
		return func() error {
			if err := must(path, into)(); !errors.Is(err, errAbsent) {
				return err
			}
			return nil
		}
	}
	err = together(atOnce,
		must("mac", &a.mac),
		may("public-ipv4", &a.public),
		func() (err error) { a.tags, err = askTags(ctx, service); return err },
		func() (err error) { a.userData, err = askUserData(ctx, service); return err },
	)
	if err != nil {
		return answers{}, err
	}
	card := cards + strings.TrimSpace(a.mac) + "/"
	err = together(atOnce,
		func() (err error) { a.beside, err = askBeside(ctx, service, strings.TrimSpace(a.mac)); return err },
		must(card+"vpc-ipv4-cidr-blocks", &a.vpc),
		must(card+"subnet-ipv4-cidr-block", &a.subnet),
		must(card+"security-group-ids", &a.groups),
		may(card+"vpc-ipv6-cidr-blocks", &a.vpc6),
		may(card+"ipv4-prefix", &a.prefixes),
	)
	return a, err
}

func askUserData(ctx context.Context, service metadata) ([]byte, error) {
	output, err := service.GetUserData(ctx, &imds.GetUserDataInput{})
	switch {
	case httpStatus(err) == http.StatusNotFound:
		return nil, nil // launched without
	case err != nil:
		return nil, fmt.Errorf("reading the user-data: %w", explain(err))
	}
	data, err := readAll(output.Content)
	if err != nil {
		return nil, fmt.Errorf("reading the user-data: %w", err)
	}
	return data, nil
}

const cards = "network/interfaces/macs/"

// askBeside reads the security groups of the other interfaces: SSH is reached by
// them as well.
func askBeside(ctx context.Context, service metadata, primary string) (string, error) {
	macs, err := get(ctx, service, cards)
	if errors.Is(err, errAbsent) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var all []string
	for _, mac := range strings.Fields(macs) {
		if mac = strings.TrimSuffix(mac, "/"); mac == primary {
			continue
		}
		if !macAddress.fits(mac) {
			return "", fmt.Errorf("reading %q: one of them is %q, which is not of the form %s", cards, mac, macAddress)
		}
		groups, err := get(ctx, service, cards+mac+"/security-group-ids")
		if err != nil {
			return "", err
		}
		all = append(all, groups)
	}
	return strings.Join(all, "\n"), nil
}

// askTags reads the tags. Mostly there is no such path, since a launch has to
// ask for it:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html
func askTags(ctx context.Context, service metadata) (LaunchTags, error) {
	const folder = "tags/instance"
	names, err := get(ctx, service, folder)
	if errors.Is(err, errAbsent) {
		return LaunchTags{}, nil
	}
	if err != nil {
		return LaunchTags{}, err
	}
	var tags LaunchTags
	for name, into := range map[string]*string{roleTag: &tags.Role, secretTag: &tags.Secret} {
		if !slices.Contains(strings.Fields(names), name) {
			continue
		}
		if *into, err = get(ctx, service, folder+"/"+name); err != nil {
			return LaunchTags{}, err
		}
	}
	return tags, nil
}

func get(ctx context.Context, service metadata, path string) (string, error) {
	output, err := service.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if httpStatus(err) == http.StatusNotFound {
		return "", fmt.Errorf("reading %q: %w", path, errAbsent)
	}
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", path, explain(err))
	}
	text, err := readAll(output.Content)
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", path, err)
	}
	return string(text), nil
}

func readAll(body io.ReadCloser) ([]byte, error) {
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return data, nil
}

// form is what a word must look like. Its greatest length stands beside the
// expression: a repetition counted to 40 in it takes 0.7 ms to compile, at every
// start of the program, whatever it is started for.
type form struct {
	like *regexp.Regexp
	most int
}

func (f form) fits(word string) bool { return len(word) <= f.most && f.like.MatchString(word) }

func (f form) String() string { return fmt.Sprintf("%s (at most %d characters)", f.like, f.most) }

// The identifiers go into file names, tags and requests.
var (
	instanceID = form{regexp.MustCompile(`^i-[0-9a-f]+$`), 34}
	regionName = form{regexp.MustCompile(`^[a-z0-9-]+$`), 40}
	macAddress = form{regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){5}$`), 17}
	groupID    = form{regexp.MustCompile(`^sg-[0-9a-zA-Z-]+$`), 43}
)

func parseInstance(a answers) (Instance, error) {
	i := Instance{ID: a.id, Region: a.region, MAC: strings.TrimSpace(a.mac), UserData: a.userData, Tags: a.tags}
	for _, field := range []struct {
		name, value string
		form        form
	}{{"instance id", i.ID, instanceID}, {"region", i.Region, regionName}, {"mac", i.MAC, macAddress}} {
		if !field.form.fits(field.value) {
			return Instance{}, fmt.Errorf("the %s is %q, which is not of the form %s", field.name, field.value, field.form)
		}
	}
	var err error
	if i.Address, err = parseIPv4("private address", a.address); err != nil {
		return Instance{}, err
	}
	if public := strings.TrimSpace(a.public); public != "" {
		if i.Public, err = parseIPv4("public address", public); err != nil {
			return Instance{}, err
		}
	}
	if i.VPC, err = parsePrefixes("VPC's IPv4 blocks", a.vpc); err != nil {
		return Instance{}, err
	}
	if i.VPC6, err = parsePrefixes("VPC's IPv6 blocks", a.vpc6); err != nil {
		return Instance{}, err
	}
	subnet, err := parsePrefixes("subnet's IPv4 block", a.subnet)
	if err != nil {
		return Instance{}, err
	}
	if len(subnet) != 1 || len(i.VPC) == 0 {
		return Instance{}, fmt.Errorf("it names %d subnet blocks (%q) and %d VPC blocks (%q): one and at least one are needed", len(subnet), a.subnet, len(i.VPC), a.vpc)
	}
	i.Subnet = subnet[0]
	if i.Prefixes, err = parseAssigned(a.prefixes); err != nil {
		return Instance{}, err
	}
	if i.Groups, err = parseGroups(a.groups); err != nil {
		return Instance{}, err
	}
	if i.Beside, err = parseGroups(a.beside); err != nil {
		return Instance{}, err
	}
	i.Beside = slices.DeleteFunc(i.Beside, func(group string) bool { return slices.Contains(i.Groups, group) })
	if len(i.Groups) == 0 {
		// EC2, asked about no group, tells about all of the account's.
		return Instance{}, errors.New("it names no security group: every interface has at least one")
	}
	return i, nil
}

// everyGroup are the groups of all interfaces.
func (i Instance) everyGroup() []string { return slices.Concat(i.Groups, i.Beside) }

func parseGroups(text string) ([]string, error) {
	var groups []string
	for _, group := range strings.Fields(text) {
		if !groupID.fits(group) {
			return nil, fmt.Errorf("a security group id is %q, which is not of the form %s", group, groupID)
		}
		if !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	return groups, nil
}

func parseIPv4(name, text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil || !address.Is4() {
		return netip.Addr{}, fmt.Errorf("the %s is %q, which is no IPv4 address", name, text)
	}
	return address, nil
}

func parsePrefixes(name, text string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, word := range strings.Fields(text) {
		prefix, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("one of the %s is %q, which is no network", name, word)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}

// parseAssigned reads the networks whose addresses are the interface's, in their own
// order, whatever the service's.
func parseAssigned(text string) ([]netip.Prefix, error) {
	const name = "IPv4 prefixes of the interface"
	prefixes, err := parsePrefixes(name, text)
	if err != nil {
		return nil, err
	}
	for i, word := range strings.Fields(text) {
		if !prefixes[i].Addr().Is4() || prefixes[i].String() != word {
			return nil, fmt.Errorf("one of the %s is %q, which is no IPv4 network", name, word)
		}
	}
	sort.Slice(prefixes, func(a, b int) bool { return prefixes[a].Addr().Less(prefixes[b].Addr()) })
	return prefixes, nil
}
