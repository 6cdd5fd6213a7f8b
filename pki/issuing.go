// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/authority"
	"github.com/vpnami/packer-plugin-vpnami/pki/bundle"
	"github.com/vpnami/packer-plugin-vpnami/pki/profile"
	"github.com/vpnami/packer-plugin-vpnami/pki/roster"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

const profileMode fs.FileMode = 0o600

// doing is what making certificates is called in errors.
type doing string

const (
	issuingFor doing = "issuing for"
	renewing   doing = "renewing"
)

// issuing is what is to be issued, to whom and how.
type issuing struct {
	doing    doing
	people   []roster.Entry
	request  []byte             // PEM of the only person's certificate request, if it is given
	same     *authority.SameKey // what is known of its key
	out      string
	protocol string
	remotes  []profile.Remote
	form     profile.Form
	profile  authority.Profile // what it connects to
	password string            // of a .p12
	template *profile.Template
	life     time.Duration
	now      time.Time
}

// paths are what a person's profile takes.
func (o issuing) paths(name string) []string {
	var paths []string
	for _, path := range o.form.Paths(name) {
		paths = append(paths, filepath.Join(o.out, path))
	}
	return paths
}

// checkOnce refuses somebody who is given twice.
func (o issuing) checkOnce() error {
	seen := map[string]bool{}
	for _, wanted := range o.people {
		if seen[strings.ToLower(wanted.Name)] {
			return fmt.Errorf("%s %q: the name is given twice (capitals do not count)", o.doing, wanted.Name)
		}
		seen[strings.ToLower(wanted.Name)] = true
	}
	return nil
}

// checkFiles refuses to overwrite a profile.
func (o issuing) checkFiles(folder authority.Folder, people []authority.Person) error {
	var names, left []string
	for _, person := range people {
		there := o.there(person.Name)
		switch {
		case len(there) == 0:
		case o.isLeft(folder, person):
			names, left = append(names, person.Name), append(left, there...)
		default:
			return o.refuseThere(person, there[0])
		}
	}
	if len(left) > 0 {
		return o.refuseLeft(names, left)
	}
	if info, err := os.Stat(o.out); err == nil && !info.IsDir() {
		return fmt.Errorf("writing profiles into %q: it is not a folder", o.out)
	}
	if folder.Holds(o.out) || isWithinAuthority(o.out) {
		return fmt.Errorf("writing profiles into %q: that is an authority's folder, or in it, and would keep people's keys with the CA's: choose another with --out", o.out)
	}
	return checkPlace(o.out)
}

// isWithinAuthority tells whether a path is an authority's folder, or lies in one.
func isWithinAuthority(path string) bool {
	path, err := authority.Resolve(path)
	for ; err == nil && path != filepath.Dir(path); path = filepath.Dir(path) {
		if authority.IsFolder(path) {
			return true
		}
	}
	return false
}

// checkPlace refuses a folder for profiles that is known to take none, before
// anything is asked for.
func checkPlace(path string) error {
	for {
		err := mayMakeFilesIn(path)
		if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
			if _, there := os.Lstat(path); there == nil {
				return fmt.Errorf("writing profiles into %q: it is a link to what is not there: make that, or choose another folder with --out", path)
			}
			path = parent // the folder is to be made
			continue
		}
		if err != nil {
			return fmt.Errorf("writing profiles into %q: %w: choose another folder with --out", path, err)
		}
		return nil
	}
}

// checkRequest refuses a certificate request that cannot be meant: of somebody
// else, or with a key that nobody may have.
func (o issuing) checkRequest(folder authority.Folder, person authority.Person) error {
	if o.request == nil {
		return nil
	}
	public, err := authority.ParseRequest(o.request, person.Name)
	if err != nil {
		return fmt.Errorf("reading the certificate request: %w", err)
	}
	if err := folder.CheckRequestKey(person, public, o.same); err != nil {
		return fmt.Errorf("reading the certificate request: %w", err)
	}
	return nil
}

// profileFlags are the flags of the commands that write profiles.
type profileFlags struct {
	out, protocol string
	form          string
	passwordFile  string
	template      string
	request       string
	remotes       []string
	days          int
}

func (f *profileFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.remotes, "remote", nil, "address of the gateway, HOST or HOST:PORT; may be repeated (default: the server name, if it is a DNS name)")
	cmd.Flags().StringVar(&f.protocol, "proto", "udp", "protocol of the gateway: udp or tcp")
	cmd.Flags().StringVar(&f.form, "format", string(profile.Inline), "ovpn (one file), tblk (Tunnelblick), p12 (with NAME.p12 under a password) or files (apart, in a folder)")
	cmd.Flags().StringVar(&f.passwordFile, "p12-password-file", "", "file with the password of the .p12 on its only line (default: VPNAMI_P12_PASSWORD, or asked for)")
	cmd.Flags().StringVar(&f.template, "template", "", "file with a text/template for the profile's text, such as \"{{.Profile}}\" and lines of your own")
	cmd.Flags().StringVar(&f.out, "out", ".", "folder for the profiles")
	cmd.Flags().StringVar(&f.request, "csr", "", "file with the person's certificate request, PEM")
	cmd.Flags().IntVar(&f.days, "days", int(authority.ClientLife/(24*time.Hour)), "how long the certificate is good")
}

// checkRequest refuses a request where there cannot be one.
func (f *profileFlags) checkRequest(cmd *cobra.Command, args []string) error {
	switch {
	case f.request == "":
	case len(args) != 1:
		return usage(cmd, "--csr is of one person: give one NAME")
	case f.form == string(profile.PKCS12):
		return usage(cmd, keyInPKCS12)
	}
	return nil
}

// ordered opens the authority, and reads what is to be issued in it by the flags.
func (d *desk) ordered(cmd *cobra.Command, flags *profileFlags, called doing) (authority.Folder, issuing, error) {
	folder, err := d.open(cmd)
	if err != nil {
		return authority.Folder{}, issuing{}, err
	}
	if err := d.become(folder); err != nil {
		return authority.Folder{}, issuing{}, err
	}
	order, err := flags.order(cmd, folder, d)
	order.doing = called
	return folder, order, err
}

// order reads the flags, and what they name.
func (f *profileFlags) order(cmd *cobra.Command, folder authority.Folder, d *desk) (issuing, error) {
	now := d.now()
	order := issuing{same: new(authority.SameKey), out: f.out, protocol: f.protocol, life: authority.ClientLife, now: now}
	if !slices.Contains(profile.Protocols(), f.protocol) {
		return issuing{}, usage(cmd, "--proto is %q, it must be one of %s", f.protocol, strings.Join(profile.Protocols(), ", "))
	}
	if !slices.Contains(profile.Forms(), f.form) {
		return issuing{}, usage(cmd, "--format is %q, it must be one of %s", f.form, strings.Join(profile.Forms(), ", "))
	}
	order.form = profile.Form(f.form)
	if f.template != "" {
		text, err := readSmall(f.template)
		if err != nil {
			return issuing{}, fmt.Errorf("reading the template: %w", err)
		}
		if order.template, err = profile.ParseTemplate(string(text), order.form, folder.ServerName()); err != nil {
			return issuing{}, fmt.Errorf("reading the template %q: %w", f.template, err)
		}
		for _, doubt := range order.template.Doubtful {
			d.warn("the template %q has %s", f.template, doubt)
		}
	}
	remotes := f.remotes
	if len(remotes) == 0 && strings.Contains(folder.ServerName(), ".") {
		remotes = []string{folder.ServerName()}
	}
	if len(remotes) == 0 {
		return issuing{}, usage(cmd, "--remote is needed: the gateway's address as people reach it, HOST or HOST:PORT (the server name %q is no DNS name to take instead)", folder.ServerName())
	}
	for _, s := range remotes {
		remote, err := profile.ParseRemote(s)
		if err != nil {
			return issuing{}, usage(cmd, "--remote: %w", err)
		}
		order.remotes = append(order.remotes, remote)
	}
	if cmd.Flags().Changed("days") {
		const most = 100 * 365 // a Duration holds 292 years
		if f.days < 1 || f.days > most {
			return issuing{}, usage(cmd, "--days is %d, it must be 1 to %d", f.days, most)
		}
		order.life = time.Duration(f.days) * 24 * time.Hour
		if err := folder.CheckLife(order.life, now); err != nil {
			return issuing{}, fmt.Errorf("issuing for %d days: %w", f.days, err)
		}
	}
	if f.request != "" {
		var err error
		if order.request, err = readSmall(f.request); err != nil {
			return issuing{}, fmt.Errorf("reading the certificate request: %w", err)
		}
	}
	if order.form == profile.PKCS12 {
		var err error
		if order.password, err = d.p12Password(f.passwordFile); err != nil {
			return issuing{}, err
		}
	}
	return order, nil
}

func planOf(folder authority.Folder) bundle.AddressPlan {
	return bundle.PlanAddresses(folder.Network())
}

// atOnce is how many people are issued to together: what is written for them
// reaches the disk with few flushes, and a broken-off command leaves no more
// than so many profiles of people who are not in the roster.
const atOnce = 64

func (d *desk) issueAll(ctx context.Context, folder authority.Folder, issuer authority.Issuer, order issuing, people []authority.Person) error {
	if err := authority.MakeFolders(order.out); err != nil {
		return fmt.Errorf("making the folder for profiles: %w", err)
	}
	d.swept(authority.SweepProfiles(order.out, order.now))
	over, err := folder.RenewCRL(issuer)
	d.tellTakenOver(over)
	if err != nil {
		return err
	}
	wrapper, err := folder.Wrapper()
	if err != nil {
		return err
	}
	if order.profile, err = folder.NewProfile(order.now); err != nil {
		return err
	}
	if len(people) > atOnce {
		var stop context.CancelFunc
		ctx, stop = interruptible(ctx)
		defer stop()
	}
	var done []string
	for batch := range slices.Chunk(people, atOnce) {
		err := context.Cause(ctx) // between two batches is where to stop
		var more []string
		if err == nil {
			more, err = d.issueBatch(folder, issuer, wrapper, order, batch)
		}
		if done = append(done, more...); err != nil {
			return fmt.Errorf("%s %s, after %d of %s: %w; %s", order.doing, some(namesOf(batch)), len(done), plural(len(people), "profile", "profiles"), err, goOn(done, namesOf(people)))
		}
	}
	return nil
}

// goOn says what to do where some of many are done, which the same command would
// refuse.
func goOn(done, all []string) string {
	switch {
	case len(done) == 0:
		return "when that is mended, give the same command again"
	case slices.Equal(done, all[:len(done)]):
		return fmt.Sprintf("the first %d are done, the last of them %q: when that is mended, give the command again without them", len(done), done[len(done)-1])
	}
	return fmt.Sprintf("%d are done, %s: when that is mended, give the command again without them (\"vpnami-pki list\" has them all)", len(done), some(done))
}

// issueBatch records the certificates, writes the profiles, and last adds the
// people: whoever is in the roster has a profile. It returns who is, also beside an
// error.
func (d *desk) issueBatch(folder authority.Folder, issuer authority.Issuer, wrapper tlscrypt.ServerKey, order issuing, people []authority.Person) ([]string, error) {
	var clients []authority.Client
	var profiles []authority.NewFile
	var folders []profile.Laid
	for _, person := range people {
		client, err := order.sign(issuer, person, wrapper)
		if err != nil {
			return nil, err
		}
		client.Profile = order.profile
		laid, err := profile.Profile{
			Unwrapped: order.profile == authority.Both,
			Name:      person.Name, Authority: folder.Name(), ServerName: folder.ServerName(),
			Protocol: order.protocol, Remotes: order.remotes,
			CA:          folder.CAs(),
			Certificate: client.Pair.Certificate, Key: client.Pair.Key, TLSCryptV2: client.TLSCryptV2,
			Template: order.template,
		}.In(order.form, order.password)
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
		if laid.Folder != "" {
			folders = append(folders, laid)
			continue
		}
		for _, file := range laid.Files {
			profiles = append(profiles, authority.NewFile{Path: filepath.Join(order.out, file.Path), Mode: profileMode, Data: file.Data})
		}
	}
	laid, err := stageBatch(order.out, profiles, folders)
	if err != nil {
		return nil, err // nothing is made yet
	}
	if err := laid.handOut(folder, order, clients); err != nil {
		in, _ := inRoster(folder, clients) // what cannot be read was told of already
		return in, fmt.Errorf("%w; the log may have certificates of %s that nobody holds and no gateway takes", err, some(namesOf(people)))
	}
	for _, client := range clients {
		certificate := client.Pair.Certificate
		own := ""
		if client.Address.IsValid() {
			own = "  address " + client.Address.String()
		}
		d.say("%s  until %s  serial %s%s", strings.Join(order.paths(client.Name), ", "), day(certificate.NotAfter), certificate.SerialNumber, own)
	}
	return namesOf(people), nil
}

func (o issuing) sign(issuer authority.Issuer, person authority.Person, wrapper tlscrypt.ServerKey) (authority.Client, error) {
	if o.request == nil {
		return issuer.Issue(person, wrapper, o.life)
	}
	public, err := authority.ParseRequest(o.request, person.Name)
	if err != nil {
		return authority.Client{}, fmt.Errorf("reading the certificate request: %w", err)
	}
	return issuer.Certify(person, public, wrapper, o.life)
}

func namesOf(people []authority.Person) []string {
	names := make([]string, len(people))
	for i, p := range people {
		names[i] = p.Name
	}
	return names
}
