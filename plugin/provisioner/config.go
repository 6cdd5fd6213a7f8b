// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:generate packer-sdc mapstructure-to-hcl2 -type Config

package provisioner

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/common"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"
)

// Config holds the options of provisioner "vpnami".
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// Packages to install besides those that vpnami needs.
	Packages []string `mapstructure:"packages"`

	// A file of this host that the image's manifest is written to: packages,
	// files laid down with hash, mode and owner, source and versions. The image
	// has the same in /usr/share/vpnami/manifest.json. Defaults to none.
	ManifestPath string `mapstructure:"manifest_path"`

	// How long to wait for cloud-init and for other users of the package manager
	// on the guest, as "5m". Defaults to "10m".
	WaitTimeout string `mapstructure:"wait_timeout"`

	// How long all of it may take, as "45m". Defaults to "30m".
	Timeout string `mapstructure:"timeout"`

	waitTimeout, timeout time.Duration

	ctx interpolate.Context
}

const (
	// cloud-init and the first unattended upgrade of a fresh Ubuntu guest take
	// two to four minutes on small instances.
	defaultWaitTimeout = "10m"
	// A minute here; a guest with a slow mirror and many upgrades takes ten.
	defaultTimeout = "30m"
	maxTimeout     = 24 * time.Hour
)

// packageName is Debian policy 5.6.1.
var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// Prepare sets defaults and refuses what cannot work: every wrong option, each by
// its name.
func (c *Config) Prepare(raws ...any) error {
	err := config.Decode(c, &config.DecodeOpts{
		PluginType:         "vpnami",
		Interpolate:        true,
		InterpolateContext: &c.ctx,
	}, raws...)
	if err != nil {
		return fmt.Errorf("reading the options of vpnami: %w", err)
	}

	// Set defaults.
	if c.WaitTimeout == "" {
		c.WaitTimeout = defaultWaitTimeout
	}
	if c.Timeout == "" {
		c.Timeout = defaultTimeout
	}

	// Refuse what cannot work.
	var errs *packersdk.MultiError
	refuse := func(option, value, want string) {
		errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("checking %s: it is %q; %s", option, value, want))
	}
	for _, p := range c.Packages {
		if !packageName.MatchString(p) {
			refuse("packages", p, `a package is a name such as "tcpdump": small letters, digits, + - .`)
		}
	}
	if c.ManifestPath != "" {
		if st, err := os.Stat(c.ManifestPath); err == nil && st.IsDir() {
			refuse("manifest_path", c.ManifestPath, "it is a folder; name the file to write in it")
		} else if st, err := os.Stat(filepath.Dir(c.ManifestPath)); err != nil || !st.IsDir() {
			refuse("manifest_path", c.ManifestPath, "its folder is not there; make it first")
		}
	}
	c.waitTimeout = duration("wait_timeout", c.WaitTimeout, refuse)
	c.timeout = duration("timeout", c.Timeout, refuse)
	if c.timeout > 0 && c.waitTimeout >= c.timeout {
		refuse("wait_timeout", c.WaitTimeout, fmt.Sprintf("it must be shorter than timeout, which is %q", c.Timeout))
	}
	if errs != nil && len(errs.Errors) > 0 {
		return errs
	}
	return nil
}

func duration(option, value string, refuse func(option, value, want string)) time.Duration {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 || d > maxTimeout {
		refuse(option, value, `it is a duration such as "30m", at most "24h"`)
		return 0
	}
	return d
}
