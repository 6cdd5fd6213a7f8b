// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:generate packer-sdc mapstructure-to-hcl2 -type Config

package bootstrap

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/common"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/vpnami/packer-plugin-vpnami/plugin/option"
)

// Config holds the options of source "vpnami-bootstrap".
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// The distribution that the image is made of: "debian" or "ubuntu".
	// Defaults to "debian".
	Distribution string `mapstructure:"distribution"`

	// The code name of the release: "bookworm" or "trixie" of Debian, "noble" or
	// "resolute" of Ubuntu. Defaults to "trixie" and "noble".
	Release string `mapstructure:"release"`

	// The architecture of the image, "amd64" or "arm64". It must be the host's
	// own, because the packages' scripts run during the bake. Defaults to the
	// host's.
	Architecture string `mapstructure:"architecture"`

	// The archive that the packages come from, as "http://mirror.example/debian".
	// By default, the host's own apt configuration decides if the host is of the
	// same distribution; if not, it is the distribution's public archive. The
	// image keeps it in /etc/apt/sources.list.
	Mirror string `mapstructure:"mirror"`

	// The archive of the security updates. Required beside a mirror of your own
	// for Debian, which has them apart; defaults to that mirror for Ubuntu.
	SecurityMirror string `mapstructure:"security_mirror"`

	// Take OpenVPN and the kernel from the release's backports: OpenVPN 2.7 and a
	// kernel with the module ovpn, which together carry data some three times as
	// fast (data channel offload). Of Debian, "trixie" has them there; Ubuntu's
	// "resolute" has them anyway. Defaults to false.
	Backports bool `mapstructure:"backports"`

	// Packages to install besides those that a cloud image of the distribution
	// has. What vpnami itself needs is installed by provisioner "vpnami".
	Packages []string `mapstructure:"packages"`

	// The size of the disk image, as "2G", "8192M". It grows on its first boot to
	// the size of the volume that it is on. At least "1G". Defaults to "2G".
	DiskSize string `mapstructure:"disk_size"`

	// The formats of the disk image: "raw" (disk.raw, sparse) and "qcow2"
	// (disk.qcow2, compressed; needs qemu-img). Defaults to ["raw"].
	DiskFormats []string `mapstructure:"disk_formats"`

	// The folder that root.tar, disk.raw and manifest.json are put in. It appears
	// when they are complete, and must not exist before (packer build -force
	// replaces it). Defaults to "output-" and the name of the build.
	OutputDirectory string `mapstructure:"output_directory"`

	// How long making the root file system may take, provisioners not included,
	// as "45m". At least "1m". Defaults to "30m".
	Timeout string `mapstructure:"timeout"`

	distro   distribution
	diskSize int64
	timeout  time.Duration

	ctx interpolate.Context
}

const (
	// The root takes 0.5 GiB, kernel updates need as much again for a moment, and
	// the journal may take a quarter (images/rootfs journald.conf.d): 2 GiB leave
	// room before the first growth.
	defaultDiskSize = "2G"
	minDiskSize     = 1 << 30
	// 16 TiB is ext4's limit with blocks of 4 KiB.
	maxDiskSize = 16 << 40
	// Measured: 45 s on two cores with a mirror nearby. A slow mirror may take
	// forty times as long; no more is waited for one that is dead.
	defaultTimeout = 30 * time.Minute
	// Nothing is baked in less: it is a slip of the unit.
	minTimeout = time.Minute
	maxTimeout = 24 * time.Hour
)

// The formats of a disk image.
const (
	formatRaw   = "raw"
	formatQcow2 = "qcow2"
)

// Prepare sets defaults and refuses what cannot work: every wrong option, each by
// its name.
func (c *Config) Prepare(raws ...any) error {
	err := config.Decode(c, &config.DecodeOpts{
		PluginType:         "vpnami-bootstrap",
		Interpolate:        true,
		InterpolateContext: &c.ctx,
	}, raws...)
	if err != nil {
		return fmt.Errorf("reading the options of vpnami-bootstrap: %w", err)
	}

	// Set defaults.
	c.Distribution = orDefault(c.Distribution, "debian")
	c.Architecture = orDefault(c.Architecture, runtime.GOARCH)
	c.DiskSize = orDefault(c.DiskSize, defaultDiskSize)
	if len(c.DiskFormats) == 0 {
		c.DiskFormats = []string{formatRaw}
	}
	c.OutputDirectory = orDefault(c.OutputDirectory, "output-"+c.PackerBuildName)
	c.Timeout = orDefault(c.Timeout, defaultTimeout.String())

	// Refuse what cannot work.
	var errs *packersdk.MultiError
	refuse := func(option, value, want string) {
		errs = packersdk.MultiErrorAppend(errs, fmt.Errorf("checking %s: it is %q; %s", option, value, want))
	}
	var known bool
	if c.distro, known = distributions()[c.Distribution]; !known {
		refuse("distribution", c.Distribution, "it can be "+oneOf(distributions()))
		if c.Release != "" && !slices.Contains(allReleases(), c.Release) {
			refuse("release", c.Release, "it can be one of "+strings.Join(allReleases(), ", "))
		}
	} else {
		c.Release = orDefault(c.Release, c.distro.release)
		if !slices.Contains(c.distro.releases, c.Release) {
			refuse("release", c.Release, fmt.Sprintf("of %s it can be %s", c.Distribution, strings.Join(c.distro.releases, ", ")))
		}
	}
	if _, known := firmwares()[c.Architecture]; !known {
		refuse("architecture", c.Architecture, "it can be "+oneOf(firmwares()))
	}
	for option, value := range map[string]string{"mirror": c.Mirror, "security_mirror": c.SecurityMirror} {
		if err := checkMirror(value); err != nil {
			refuse(option, withoutPassword(value), err.Error())
		}
	}
	if c.SecurityMirror != "" && c.Mirror == "" {
		refuse("security_mirror", withoutPassword(c.SecurityMirror), "it has a meaning beside mirror only, and mirror is not set")
	}
	if c.Mirror != "" && c.SecurityMirror == "" && c.distro.securityApart {
		refuse("security_mirror", "", "beside a mirror for "+c.Distribution+" it must be given, because the security updates lie in an archive of their own")
	}
	if known && c.Backports && !slices.Contains(c.distro.backported, c.Release) {
		refuse("backports", "true", fmt.Sprintf("the backports of %s %s have no OpenVPN 2.7 with a kernel for it; leave it out", c.Distribution, orDefault(c.Release, "(no release)")))
	}
	for _, p := range c.Packages {
		if err := option.CheckPackage(p); err != nil {
			refuse("packages", p, err.Error())
		}
	}
	if c.diskSize, err = parseSize(c.DiskSize); err != nil {
		refuse("disk_size", c.DiskSize, err.Error())
	}
	for _, f := range c.DiskFormats {
		if f != formatRaw && f != formatQcow2 {
			refuse("disk_formats", f, fmt.Sprintf("it can be %q, %q", formatRaw, formatQcow2))
		}
	}
	// What "a/.." and "../.." lead to has no name that a rename could give it.
	if name := filepath.Base(filepath.Clean(c.OutputDirectory)); name == "." || name == ".." || name == "/" {
		refuse("output_directory", c.OutputDirectory, "it must be a folder of its own, which the bake makes and -force replaces")
	}
	if c.timeout, err = option.Duration(c.Timeout, minTimeout, maxTimeout); err != nil {
		refuse("timeout", c.Timeout, err.Error())
	}
	if errs != nil && len(errs.Errors) > 0 {
		// Maps have no order; people and tests want one.
		slices.SortFunc(errs.Errors, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return errs
	}
	return nil
}

func orDefault(value, def string) string {
	if value == "" {
		return def
	}
	return value
}

func allReleases() []string {
	var all []string
	for _, d := range distributions() {
		all = append(all, d.releases...)
	}
	slices.Sort(all)
	return all
}

func checkMirror(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	// A blank, a bracket or a quote would end the address in a line of
	// sources.list.
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.ContainsAny(s, " \t\n[]\"") {
		return errors.New("it is the address of an archive, such as \"http://mirror.example/debian\"")
	}
	if u.User != nil {
		return errors.New("it must not hold a password, because the image keeps it in sources.list for everybody to read")
	}
	// sources.list takes what follows # for a comment, and apt appends its paths
	// to a query.
	if strings.ContainsAny(s, "#?") {
		return errors.New("it must not have a query (?) or a fragment (#)")
	}
	if strings.HasSuffix(u.Host, ":") || u.Port() != "" {
		if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
			return errors.New("its port can be 1 to 65535")
		}
	}
	return nil
}

// withoutPassword is what of an address may stand in an error.
func withoutPassword(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	// What cannot be parsed may still have a password before its last @.
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "xxxxx" + s[i:]
	}
	return s
}

var sizePattern = regexp.MustCompile(`^([0-9]{1,9})([MGT])$`)

// parseSize reads a size of a disk: a number and M, G or T, each a power of 1024
// as with EBS volumes.
func parseSize(s string) (int64, error) {
	m := sizePattern.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New("it is a number and M, G or T, such as \"2G\"")
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, err
	}
	shift := map[string]int{"M": 20, "G": 30, "T": 40}[m[2]]
	if n > maxDiskSize>>shift || n<<shift < minDiskSize {
		return 0, errors.New("it can be \"1G\" to \"16T\"")
	}
	return n << shift, nil
}
