// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:generate packer-sdc mapstructure-to-hcl2 -type Config

package provisioner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/common"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/vpnami/packer-plugin-vpnami/plugin/option"
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

	// A file of this host that the image's SBOM is written to: CycloneDX 1.6 in
	// JSON, with the packages, the files laid down, and the Go modules of
	// vpnami-firstboot. The image has the same in
	// /usr/share/vpnami/sbom.cdx.json. Defaults to none.
	SBOMPath string `mapstructure:"sbom_path"`

	// How long to wait for cloud-init and for other users of the package manager
	// on the guest, as "5m". At least "1s". Defaults to "10m".
	WaitTimeout string `mapstructure:"wait_timeout"`

	// How long installing and updating packages may take, as "45m". At least
	// "1m". Defaults to "30m". (All of the provisioner is bounded by "timeout",
	// which Packer has for every provisioner.)
	InstallTimeout string `mapstructure:"install_timeout"`

	waitTimeout, installTimeout time.Duration

	ctx interpolate.Context
}

const (
	// cloud-init and the first unattended upgrade of a fresh Ubuntu guest take
	// two to four minutes on small instances.
	defaultWaitTimeout = "10m"
	// wait.sh counts in seconds.
	minWaitTimeout = time.Second
	// A minute here; a guest with a slow mirror and many upgrades takes ten.
	defaultInstallTimeout = "30m"
	// Nothing is installed in less: it is a slip of the unit.
	minInstallTimeout = time.Minute
	maxTimeout        = 24 * time.Hour
)

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
	if c.InstallTimeout == "" {
		c.InstallTimeout = defaultInstallTimeout
	}

	// Refuse what cannot work.
	var errs *packersdk.MultiError
	refuse := func(option, value, want string) {
		errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("checking %s: it is %q; %s", option, value, want))
	}
	for _, p := range c.Packages {
		if err := option.CheckPackage(p); err != nil {
			refuse("packages", p, err.Error())
		}
	}
	for _, file := range []struct{ option, path string }{{"manifest_path", c.ManifestPath}, {"sbom_path", c.SBOMPath}} {
		if err := checkNewFile(file.path); err != nil {
			refuse(file.option, file.path, err.Error())
		}
	}
	if c.ManifestPath != "" && filepath.Clean(c.ManifestPath) == filepath.Clean(c.SBOMPath) {
		refuse("sbom_path", c.SBOMPath, "manifest_path names the same file; name two")
	}
	if c.waitTimeout, err = option.Duration(c.WaitTimeout, minWaitTimeout, maxTimeout); err != nil {
		refuse("wait_timeout", c.WaitTimeout, err.Error())
	}
	if c.installTimeout, err = option.Duration(c.InstallTimeout, minInstallTimeout, maxTimeout); err != nil {
		refuse("install_timeout", c.InstallTimeout, err.Error())
	}
	if errs != nil && len(errs.Errors) > 0 {
		return errs
	}
	return nil
}

// checkNewFile refuses what cannot become a file by a rename.
func checkNewFile(path string) error {
	if path == "" {
		return nil
	}
	// Lstat: a link or a device would not survive the rename.
	if st, err := os.Lstat(path); err == nil && st.IsDir() {
		return errors.New("it is a folder; name the file to write in it")
	} else if err == nil && !st.Mode().IsRegular() {
		return errors.New("what is there is not a regular file; name a file, which is replaced, or one that is not there yet")
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || !st.IsDir() {
		return errors.New("its folder is not there; make it first")
	}
	return nil
}
