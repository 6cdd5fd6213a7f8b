// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// metadata is what an instance's metadata service says.
type metadata struct {
	Instance, Image, Type string
	Reservation, Account  string
	Zone, Hostname        string
	MAC, Interface        string
	Subnet, VPC           string
	SubnetCIDR            netip.Prefix
	VPCCIDRs              []netip.Prefix
	Addresses             []netip.Addr // private, primary first
	Public                netip.Addr   // of the primary one; zero: none
	Prefixes              []netip.Prefix
	GroupIDs, GroupNames  []string
	KeyName, PublicKey    string
	Profile, Role         string
	Keys                  Keys // of the role
	UserData              []byte
	Launched              time.Time

	Tags          map[string]string // nil: not served
	HopLimit      int
	OptionalToken bool
}

const metadataRoot = "/latest/meta-data/"

// values are the metadata by path. The mock's configuration is made of them,
// and so is what a listing shows.
func (m metadata) values() map[string]any {
	region := strings.TrimRight(m.Zone, "abcdef")
	nic := "network/interfaces/macs/" + m.MAC + "/"
	v := map[string]any{
		"ami-id": m.Image, "ami-launch-index": "0", "ami-manifest-path": "(unknown)",
		"block-device-mapping/ami": "/dev/xvda", "block-device-mapping/root": "/dev/xvda",
		"hostname": m.Hostname, "local-hostname": m.Hostname, "instance-action": "none",
		"instance-id": m.Instance, "instance-life-cycle": "on-demand", "instance-type": m.Type,
		"local-ipv4": m.Addresses[0].String(), "mac": m.MAC,
		"placement/availability-zone": m.Zone, "placement/region": region,
		"reservation-id": m.Reservation, "security-groups": strings.Join(m.GroupNames, "\n"),
		"services/domain": "amazonaws.com", "services/partition": "aws",
		nic + "device-number": "0", nic + "interface-id": m.Interface, nic + "mac": m.MAC,
		nic + "local-hostname": m.Hostname, nic + "local-ipv4s": lines(m.Addresses),
		nic + "owner-id": m.Account, nic + "security-group-ids": strings.Join(m.GroupIDs, "\n"),
		nic + "security-groups": strings.Join(m.GroupNames, "\n"), nic + "subnet-id": m.Subnet,
		nic + "subnet-ipv4-cidr-block": m.SubnetCIDR.String(), nic + "vpc-id": m.VPC,
		nic + "vpc-ipv4-cidr-blocks": lines(m.VPCCIDRs),
	}
	if len(m.VPCCIDRs) > 0 {
		v[nic+"vpc-ipv4-cidr-block"] = m.VPCCIDRs[0].String()
	}
	if m.Public.IsValid() {
		name := "ec2-" + strings.ReplaceAll(m.Public.String(), ".", "-") + "." + region + ".compute.amazonaws.com"
		v["public-ipv4"], v["public-hostname"] = m.Public.String(), name
		v[nic+"public-ipv4s"], v[nic+"public-hostname"] = m.Public.String(), name
		v[nic+"ipv4-associations/"+m.Public.String()] = m.Addresses[0].String()
	}
	if m.PublicKey != "" {
		v["public-keys/0/openssh-key"] = m.PublicKey
	}
	if m.Role != "" {
		updated := m.Launched.UTC().Format(time.RFC3339)
		v["iam/info"] = map[string]string{"Code": "Success", "LastUpdated": updated,
			"InstanceProfileArn": "arn:aws:iam::" + m.Account + ":instance-profile/" + m.Profile, "InstanceProfileId": "AIPALABLABLABLABLAB0"}
		v["iam/security-credentials"] = m.Role
		v["iam/security-credentials/"+m.Role] = map[string]string{"Code": "Success", "LastUpdated": updated, "Type": "AWS-HMAC",
			"AccessKeyId": m.Keys.ID, "SecretAccessKey": m.Keys.Secret, "Token": m.Keys.Token,
			// A lab lives for hours; the mock does not renew them.
			"Expiration": m.Launched.UTC().Add(30 * 24 * time.Hour).Format(time.RFC3339)}
	}
	return v
}

// mockKeys gives the mock's own name of each path that it can serve.
func (m metadata) mockKeys() map[string]string {
	nic := "network/interfaces/macs/" + m.MAC + "/"
	keys := map[string]string{
		"block-device-mapping/ami": "block-device-mapping-ami", "block-device-mapping/root": "block-device-mapping-root",
		"placement/availability-zone": "placement-availability-zone", "placement/region": "placement-region",
		"services/domain": "services-domain", "services/partition": "services-partition",
		"public-keys/0/openssh-key": "public-key", "iam/info": "iam-info",
		"iam/security-credentials": "iam-security-credentials-role", "iam/security-credentials/" + m.Role: "iam-security-credentials",
		nic + "interface-id": "mac-network-interface-id", nic + "ipv4-associations/" + m.Public.String(): "mac-ipv4-associations",
	}
	for path := range m.values() {
		if _, special := keys[path]; special {
			continue
		}
		if leaf, ok := strings.CutPrefix(path, nic); ok {
			keys[path] = "mac-" + leaf
		} else {
			keys[path] = path
		}
	}
	return keys
}

// mockDefaults are the paths that the mock serves unless told not to.
func mockDefaults() []string {
	return []string{
		"block-device-mapping-ebs", "block-device-mapping-ephemeral", "block-device-mapping-swap", "elastic-inference-associations",
		"elastic-inference-accelerator", "events", "kernel-id", "mac-ipv6-associations", "mac-network-interface-card-index",
		"mac-subnet-ipv6-cidr-blocks", "mac-vpc-ipv6-cidr-blocks", "placement-availability-zone-id", "placement-group-name",
		"placement-host-id", "placement-partition-number", "product-codes", "ramdisk-id", "spot", "spot-termination-time",
		"rebalance-rec-time", "tags-instance-name", "tags-instance-test", "target-lifecycle-state", "mac-ipv4-associations",
		"mac-public-hostname", "mac-public-ipv4s", "public-hostname", "public-ipv4", "public-key", "iam-info",
		"iam-security-credentials-role", "iam-security-credentials",
	}
}

// mockConfig is the configuration file of amazon-ec2-metadata-mock.
func mockConfig(m metadata) ([]byte, error) {
	paths, values := map[string]string{}, map[string]any{}
	for _, key := range mockDefaults() {
		paths[key] = ""
	}
	keys := m.mockKeys()
	for path, value := range m.values() {
		paths[keys[path]] = metadataRoot + path
		values[keys[path]] = value
	}
	userdata := map[string]any{"paths": map[string]string{"userdata": ""}}
	if len(m.UserData) > 0 {
		userdata = map[string]any{"paths": map[string]string{"userdata": "/latest/user-data"},
			"values": map[string]string{"userdata": base64.StdEncoding.EncodeToString(m.UserData)}}
	}
	config := map[string]any{
		"metadata": map[string]any{"paths": paths, "values": values},
		"dynamic": map[string]any{"values": map[string]any{"instance-identity-document": map[string]any{
			"accountId": m.Account, "imageId": m.Image, "availabilityZone": m.Zone, "version": "2017-09-30",
			"privateIp": m.Addresses[0].String(), "instanceId": m.Instance, "pendingTime": m.Launched.UTC().Format(time.RFC3339),
			"architecture": "x86_64", "instanceType": m.Type, "region": strings.TrimRight(m.Zone, "abcdef"),
		}}},
		"userdata": userdata,
	}
	return json.MarshalIndent(config, "", "  ")
}

// answer is what the front does with a path: it knows what exists, lists
// folders and serves tags and prefixes itself, because the mock answers every name
// that is contained in another one, lists without a token, knows two tags and no
// prefixes.
type answer struct {
	Forward string // ask the mock for this path
	Text    string // or say this
	Found   bool
}

// lookup resolves a path of any of IMDS's versions ("/latest/...",
// "/2021-03-23/...").
func (m metadata) lookup(path string) answer {
	version, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if version == "" {
		return answer{Text: "latest", Found: true}
	}
	rest = strings.TrimSuffix(rest, "/")
	switch {
	case rest == "":
		return answer{Text: "dynamic\nmeta-data\nuser-data", Found: true}
	case rest == "user-data":
		return answer{Forward: "/latest/user-data", Found: len(m.UserData) > 0}
	case rest == "dynamic" || rest == "dynamic/instance-identity" || strings.HasPrefix(rest, "dynamic/instance-identity/"):
		return answer{Forward: "/latest/" + rest, Found: true}
	case rest == "meta-data":
		return m.list("")
	}
	name, ok := strings.CutPrefix(rest, "meta-data/")
	if !ok {
		return answer{}
	}
	if name == "public-keys" && m.PublicKey != "" {
		return answer{Text: "0=" + m.KeyName, Found: true}
	}
	if tag, ok := strings.CutPrefix(name, "tags/instance/"); ok {
		value, found := m.Tags[tag]
		return answer{Text: value, Found: found}
	}
	if name == m.prefixPath() {
		return answer{Text: lines(m.Prefixes), Found: len(m.Prefixes) > 0}
	}
	if _, ok := m.values()[name]; ok {
		return answer{Forward: metadataRoot + name, Found: true}
	}
	return m.list(name + "/")
}

// list is a folder: its entries, folders with a slash.
func (m metadata) list(folder string) answer {
	paths := slices.Collect(maps.Keys(m.values()))
	for tag := range m.Tags {
		paths = append(paths, "tags/instance/"+tag)
	}
	if len(m.Prefixes) > 0 {
		paths = append(paths, m.prefixPath())
	}
	entries := map[string]bool{}
	for _, path := range paths {
		if rest, ok := strings.CutPrefix(path, folder); ok {
			first, _, deeper := strings.Cut(rest, "/")
			if deeper {
				// A leaf that is a folder as well (iam/security-credentials) is a folder.
				delete(entries, first)
				entries[first+"/"] = true
			} else if !entries[first+"/"] {
				entries[first] = true
			}
		}
	}
	return answer{Text: strings.Join(slices.Sorted(maps.Keys(entries)), "\n"), Found: len(entries) > 0}
}

func (m metadata) prefixPath() string { return "network/interfaces/macs/" + m.MAC + "/ipv4-prefix" }

func lines[T interface{ String() string }](list []T) string {
	var words []string
	for _, v := range list {
		words = append(words, v.String())
	}
	return strings.Join(words, "\n")
}
