// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIdentify(t *testing.T) {
	c := newCloud(t)
	c.launch("#vpnami\nrole: step\n")
	got, err := identify(t.Context(), newMetadata(c.at("imds"), c.dial))
	if err != nil {
		t.Fatal(err)
	}
	want := launched("#vpnami\nrole: step\n")
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Error(diff)
	}
	if n := c.asked("imds api/token"); n != 1 {
		t.Errorf("asked for %d tokens", n)
	}
}

// TestIdentifyPrefixes: in their own order, whatever the service's.
func TestIdentifyPrefixes(t *testing.T) {
	c := newCloud(t)
	c.assign("10.0.1.80/28", "10.0.1.64/28")
	got, err := identify(t.Context(), newMetadata(c.at("imds"), c.dial))
	if err != nil || fmt.Sprint(got.Prefixes) != "[10.0.1.64/28 10.0.1.80/28]" {
		t.Errorf("got %s, %v", got.Prefixes, err)
	}
}

func TestIdentifyWithoutPublicAddressAndUserData(t *testing.T) {
	c := newCloud(t)
	delete(c.metadata, "meta-data/public-ipv4")
	got, err := identify(t.Context(), newMetadata(c.at("imds"), c.dial))
	if err != nil || got.Public.IsValid() || got.UserData != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestIdentifyFails: in time, in words, and without falling back to IMDSv1.
func TestIdentifyFails(t *testing.T) {
	for name, c := range map[string]struct {
		fault http.HandlerFunc
		words string
	}{
		"v1 only": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, "{}")
		}, "403"},
		"hanging": {hang, "no answer"},
		"503":     {status(503), "503"},
		"404":     {status(404), "404"},
		"garbage": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			_, _ = io.WriteString(w, "<html>")
		}, "identity document"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := newCloud(t)
			cloud.spoil("imds", c.fault)
			ctx, cancel := context.WithTimeout(t.Context(), askWithin)
			defer cancel()
			began := time.Now()
			_, err := identify(ctx, newMetadata(cloud.at("imds"), cloud.dial))
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want words %q", err, c.words)
			}
			if state, _ := verdict(err); state != Waiting {
				t.Errorf("state %s", state)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestIdentifyLate: a metadata service, or a network, that comes a second late
// costs no restart.
func TestIdentifyLate(t *testing.T) {
	c := newCloud(t)
	c.spoil("imds", status(503))
	time.AfterFunc(time.Second, func() { c.spoil("imds", nil) })
	ctx, cancel := context.WithTimeout(t.Context(), askWithin)
	defer cancel()
	if _, err := identify(ctx, newMetadata(c.at("imds"), c.dial)); err != nil {
		t.Error(err)
	}
}

func TestIdentifyRefused(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), askWithin)
	defer cancel()
	_, err := identify(ctx, newMetadata(server.URL, new(net.Dialer).DialContext))
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func goodAnswers() answers {
	return answers{
		id: "i-0123456789abcdef0", region: "ap-northeast-1", address: "10.0.1.2", public: "203.0.113.10",
		mac: "02:00:00:00:01:02", vpc: "10.0.0.0/16\n10.1.0.0/16", subnet: "10.0.0.0/16", groups: "sg-0aaa\nsg-0bbb\n",
	}
}

func TestParseInstance(t *testing.T) {
	got, err := parseInstance(goodAnswers())
	if err != nil || len(got.VPC) != 2 || len(got.Groups) != 2 || got.Address != netip.MustParseAddr("10.0.1.2") {
		t.Fatalf("got %+v, %v", got, err)
	}
	for name, spoil := range map[string]func(*answers){
		"id":          func(a *answers) { a.id = "../../etc" },
		"no id":       func(a *answers) { a.id = "" },
		"region":      func(a *answers) { a.region = "evil.example/" },
		"mac":         func(a *answers) { a.mac = "../user-data" },
		"address":     func(a *answers) { a.address = "fd00::1" },
		"public":      func(a *answers) { a.public = "<html>" },
		"vpc":         func(a *answers) { a.vpc = "10.0.0.0/33" },
		"no vpc":      func(a *answers) { a.vpc = "" },
		"subnet":      func(a *answers) { a.subnet = "10.0.0.0/16 10.1.0.0/16" },
		"group":       func(a *answers) { a.groups = "sg-1 *" },
		"vpc over 6":  func(a *answers) { a.vpc6 = "zz" },
		"prefix":      func(a *answers) { a.prefixes = "10.0.1.64/28 <html>" },
		"inexact":     func(a *answers) { a.prefixes = "10.0.1.65/28" },
		"prefix of 6": func(a *answers) { a.prefixes = "fd00:1::/80" },
	} {
		t.Run(name, func(t *testing.T) {
			a := goodAnswers()
			spoil(&a)
			if got, err := parseInstance(a); err == nil {
				t.Errorf("accepts %+v", got)
			}
		})
	}
}

func FuzzParseInstance(f *testing.F) {
	a := goodAnswers()
	f.Add(a.id, a.region, a.address, a.public, a.mac, a.vpc, a.vpc6, a.subnet, a.groups, "10.0.1.64/28\n10.0.1.16/28")
	f.Fuzz(func(t *testing.T, id, region, address, public, mac, vpc, vpc6, subnet, groups, prefixes string) {
		i, err := parseInstance(answers{id, region, address, public, mac, vpc, vpc6, subnet, groups, groups, prefixes, nil, LaunchTags{}})
		if err == nil && (strings.ContainsAny(i.ID+i.Region+i.MAC+strings.Join(i.Groups, ""), "/\n\"* ") || !i.Address.Is4()) {
			t.Errorf("accepts %+v", i)
		}
		// Whatever it says, a rule made of it is one of IPv4 networks without host bits.
		for _, prefix := range i.Prefixes {
			if !prefix.Addr().Is4() || prefix != prefix.Masked() {
				t.Errorf("accepts %s", prefix)
			}
		}
	})
}

// TestLaunchTags: by tags alone, where there is no document; and what is wrong
// with them is told as tags.
func TestLaunchTags(t *testing.T) {
	for name, c := range map[string]struct {
		tags     map[string]string
		userData string
		want     Config
		words    string
	}{
		"vpn":                   {map[string]string{"vpnami:role": "vpn", "vpnami:secret": "vpn/office", "Name": "gateway"}, "", Config{Role: RoleVPN}, ""},
		"step":                  {map[string]string{"vpnami:role": "step"}, "", Config{Role: RoleStep}, ""},
		"beside a cloud-config": {map[string]string{"vpnami:role": "step"}, "#cloud-config\npackages: []\n", Config{Role: RoleStep}, ""},
		"a document is first":   {map[string]string{"vpnami:role": "vpn", "vpnami:secret": "vpn/other"}, "#vpnami\nrole: step\n", Config{Role: RoleStep}, ""},
		"other tags only":       {map[string]string{"Name": "gateway", "vpnami:status": "waiting"}, "", Config{}, "no document of vpnami"},
		"no secret":             {map[string]string{"vpnami:role": "vpn"}, "", Config{}, "reading the tags: \"secret\""},
		"no role":               {map[string]string{"vpnami:secret": "vpn/office"}, "", Config{}, "reading the tags: \"role\""},
		"another role":          {map[string]string{"vpnami:role": "vpm"}, "", Config{}, "\"role\" is \"vpm\""},
		"step with a secret":    {map[string]string{"vpnami:role": "step", "vpnami:secret": "vpn/office"}, "", Config{}, "is for the role vpn only"},
		"yaml in a tag":         {map[string]string{"vpnami:role": "step\nnetwork: 10.9.0.0/24"}, "", Config{}, "\"role\" is \"step\\nnetwork: 10.9.0.0/24\""},
		"quotes in a tag":       {map[string]string{"vpnami:role": "\"\\\xff\x00"}, "", Config{}, "\"role\" is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := newCloud(t)
			var names []string
			for tag, value := range c.tags {
				names = append(names, tag)
				cloud.metadata["meta-data/tags/instance/"+tag] = value
			}
			cloud.metadata["meta-data/tags/instance"] = strings.Join(names, "\n")
			if c.userData != "" {
				cloud.launch(c.userData)
			}
			instance, err := identify(t.Context(), newMetadata(cloud.at("imds"), cloud.dial))
			if err != nil {
				t.Fatal(err)
			}
			got, err := configure(instance)
			if c.words == "" && (err != nil || got.Role != c.want.Role || got.Role == RoleVPN && got.Secret.Server != "vpn/office/server") {
				t.Errorf("got %+v, %v", got, err)
			}
			if c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)) {
				t.Errorf("got %v, want %q", err, c.words)
			}
		})
	}
}
