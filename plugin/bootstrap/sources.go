// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/vpnami/packer-plugin-vpnami/plugin/osrelease"
)

// aptHost is what the host's apt knows of where packages come from.
type aptHost struct {
	// id and codename are the host's own, of /etc/os-release.
	id, codename string
	// targets is the answer of apt-get indextargets, one "URI RELEASE COMPONENT"
	// in each line: apt itself reads its two formats of sources.
	targets []byte
	// settings is the answer of apt-config dump.
	settings []byte
}

func readAptHost(ctx context.Context) (aptHost, error) {
	var h aptHost
	release, err := os.ReadFile("/etc/os-release")
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("reading the host's own release: %w", err)
	}
	values := osrelease.Parse(string(release))
	h.id, h.codename = values["ID"], values["VERSION_CODENAME"]
	if h.targets, err = hostApt(ctx, "apt-get", "indextargets",
		"--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"); err != nil {
		return h, err
	}
	h.settings, err = hostApt(ctx, "apt-config", "dump")
	return h, err
}

func hostApt(ctx context.Context, name string, args ...string) ([]byte, error) {
	// mmdebstrap depends on apt: stepCheckHost has refused a host without it.
	out, err := hostCommand(ctx, name, args...).Output()
	if err != nil {
		return nil, fmt.Errorf("asking the host's apt (%s): %w", name, err)
	}
	return out, nil
}

// sourcesList returns the lines of sources.list. With a mirror of the user's, it
// is that one. Otherwise the host's own archives of the same distribution are
// taken, with the release's name in place of the host's, so that a company's
// mirror serves the bake without being named twice. If the host is another
// distribution there are none: mmdebstrap knows the public archives.
//
// The image keeps these lines, for everybody to read and to update from: of the host's
// own, what a user's mirror may not be is refused.
func sourcesList(c *Config, h aptHost) ([]string, error) {
	line := func(uri, suite, components string) string {
		return fmt.Sprintf("deb [signed-by=%s] %s %s %s", c.distro.keyring, uri, suite, components)
	}
	if c.Mirror == "" {
		return hostSources(c, h, line)
	}
	lines := []string{
		line(c.Mirror, c.Release, c.distro.components),
		line(c.Mirror, c.Release+"-updates", c.distro.components),
		line(orDefault(c.SecurityMirror, c.Mirror), c.Release+"-security", c.distro.components),
	}
	if c.Backports {
		lines = append(lines, line(c.Mirror, c.Release+backports, c.distro.components))
	}
	return lines, nil
}

const backports = "-backports"

// backportsFiles let apt take from the release's backports what data channel
// offload needs, and nothing else, in the bake and in the updates of a running
// instance. Each is a path and its lines.
func backportsFiles(release string) map[string][]string {
	return map[string][]string{
		"etc/apt/preferences.d/vpnami-backports": {
			"Package: openvpn linux-base linux-base-* linux-binary-* linux-image-* linux-modules-*",
			"Pin: release n=" + release + backports,
			"Pin-Priority: 500", // that of the release: the newer version is taken
		},
		"etc/apt/apt.conf.d/53vpnami-backports": {
			`Unattended-Upgrade::Origins-Pattern:: "origin=Debian Backports,codename=` + release + backports + `";`,
		},
	}
}

// sourcesOf reads the lines that mmdebstrap wrote into the image.
func sourcesOf(root string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(root, "etc/apt/sources.list"))
	if err != nil {
		return nil, fmt.Errorf("reading the image's sources of packages: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "deb ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines, nil
}

func hostSources(c *Config, h aptHost, line func(uri, suite, components string) string) ([]string, error) {
	if h.id != c.distro.name || h.codename == "" {
		return nil, nil
	}
	wanted := strings.Fields(c.distro.components)
	uris := map[string]string{}
	scan := bufio.NewScanner(bytes.NewReader(h.targets))
	for scan.Scan() {
		f := strings.Fields(scan.Text())
		if len(f) != 3 || f[2] != wanted[0] {
			continue
		}
		if suite, ok := strings.CutPrefix(f[1], h.codename); ok && uris[suite] == "" {
			uris[suite] = strings.TrimSuffix(f[0], "/")
		}
	}
	if uris[""] == "" || uris["-security"] == "" {
		// Half of it would be an image without security updates.
		return nil, nil
	}
	var lines []string
	for _, suite := range []string{"", "-updates", "-security"} {
		if uri := uris[suite]; uri != "" {
			if err := checkHostSource(uri); err != nil {
				return nil, fmt.Errorf("taking this machine's own archive %q for the image: %w: name one with \"mirror\"", withoutPassword(uri), err)
			}
			lines = append(lines, line(uri, c.Release+suite, c.distro.components))
		}
	}
	if c.Backports {
		lines = append(lines, line(uris[""], c.Release+backports, c.distro.components))
	}
	return lines, nil
}

// checkHostSource refuses what cannot be had, or must not be read, from within the
// image.
func checkHostSource(uri string) error {
	if err := checkMirror(uri); err != nil {
		return err
	}
	u, err := url.Parse(uri)
	if err != nil {
		return err
	}
	if address, err := netip.ParseAddr(u.Hostname()); u.Hostname() == "localhost" || err == nil && address.IsLoopback() {
		return errors.New("it is this machine itself, and an instance would have no updates")
	}
	return nil
}

// hostSetting is what of the host's apt configuration decides how archives are
// reached and believed. All else (hooks, caches, languages) is the host's own
// business.
var hostSetting = regexp.MustCompile(`(?i)^Acquire::((http|https)(::|\s)|Check-Valid-Until|Check-Date|Retries|ForceIPv[46])`)

// aptSettings returns the lines of apt.conf that hold during the bake only.
func aptSettings(h aptHost) []byte {
	var out bytes.Buffer
	out.WriteString("APT::Install-Recommends \"false\";\n")
	scan := bufio.NewScanner(bytes.NewReader(h.settings))
	for scan.Scan() {
		if hostSetting.MatchString(scan.Text()) {
			out.WriteString(scan.Text() + "\n")
		}
	}
	return out.Bytes()
}
