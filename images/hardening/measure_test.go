// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && measure

package hardening

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// The measuring programs are those of Debian 13, unpacked and brought onto the
// booted machine: they are no part of what they measure.
const (
	bench = "/var/lib/measure"

	runLynis = `cd ` + bench + `/usr/share/lynis && cp -a ` + bench + `/etc/lynis/. ` + bench + `/usr/sbin/lynis . && chown -R 0:0 . &&
		{ sh ./lynis audit system --no-colors --quick --quiet --no-plugins --report-file ` + bench + `/lynis.dat --logfile ` + bench + `/lynis.log >/dev/null 2>&1 || true; } &&
		cat ` + bench + `/lynis.dat`

	// oscap runs with the libraries of its own release; its status 2 says that
	// rules have failed.
	runOpenSCAP = `cd ` + bench + ` && export OSCAP_SCHEMA_PATH=$PWD/usr/share/openscap/schemas OSCAP_XSLT_PATH=$PWD/usr/share/openscap/xsl OSCAP_CPE_PATH=$PWD/usr/share/openscap/cpe &&
		{ usr/lib*/ld-linux-*.so.* --library-path "$(echo usr/lib/*-linux-gnu)" usr/bin/oscap xccdf eval --profile "$0" --results results.xml \
			usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml >oscap.log 2>&1 || [ $? = 2 ] || { tail -n 5 oscap.log >&2; exit 1; }; } &&
		cat results.xml`

	// Every service that is enabled or runs, and those of vpnami and of OpenVPN,
	// which something else starts.
	runExposure = `{ systemctl list-unit-files --type=service --state=enabled --no-legend --plain; systemctl list-units --type=service --state=running --no-legend --plain
		systemctl list-unit-files 'vpnami-*.service' --no-legend --plain
		printf '%s\n' openvpn-server@vpn.service apt-daily.service apt-daily-upgrade.service; } |
		cut -d' ' -f1 | grep -v '@\.' | grep -v '^user@' | sort -u | xargs systemd-analyze security --no-pager`
)

// TestMeasure boots the stock image and ours and prints both measures; ours is
// judged. VPNAMI_MEASURE names the folder that scripts/measure has filled. Ubuntu's
// images are not baked here, so nothing is said of what they have beside these.
func TestMeasure(t *testing.T) {
	releases := []struct {
		release string
		measure func(*testing.T, *lab.Instance) measured
	}{
		{"trixie", func(t *testing.T, i *lab.Instance) measured {
			return measured{lynis: lynis(t, i), exposures: exposures(t, i)}
		}},
		{"bookworm", func(t *testing.T, i *lab.Instance) measured {
			return measured{compliance: openSCAP(t, i), exposures: exposures(t, i)}
		}},
	}
	var exposed []Exposures
	for _, c := range releases {
		t.Run(c.release, func(t *testing.T) {
			var stock, ours measured
			t.Run("stock", func(t *testing.T) { stock = c.measure(t, boot(t, "stock-"+c.release, "#cloud-config\n{}\n")) })
			t.Run("ours", func(t *testing.T) { ours = c.measure(t, boot(t, "ours-"+c.release, "#vpnami\nrole: step\n")) })
			ours.show(t, stock)
			for _, wrong := range ours.judge(t) {
				t.Error(wrong)
			}
			exposed = append(exposed, ours.exposures)
		})
	}
	if len(exposed) < len(releases) {
		return // one was left out by -run, or has failed
	}
	for _, wrong := range reasons(t).JudgeExcused(exposed...) {
		t.Error(wrong)
	}
}

// reasons are those for what the engine shows.
func reasons(t *testing.T) Reasons {
	t.Helper()
	r, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if engine() == lab.Nspawn {
		return r.InContainer()
	}
	return r.OnMachine()
}

// measured is what was measured of an image; what was not is nil.
type measured struct {
	lynis      *Audit
	exposures  Exposures
	compliance *Compliance
}

// show prints both, the stock image first.
func (m measured) show(t *testing.T, stock measured) {
	t.Helper()
	if m.lynis != nil && stock.lynis != nil {
		t.Logf("Lynis, stock: %s", stock.lynis)
		t.Logf("Lynis, ours:  %s", m.lynis)
		for _, name := range m.lynis.Left {
			t.Logf("    left: %-10s %s", name, strings.Join(m.lynis.Says[name], "; "))
		}
	}
	if m.compliance != nil && stock.compliance != nil {
		t.Logf("OpenSCAP, stock: %s", stock.compliance)
		t.Logf("OpenSCAP, ours:  %s", m.compliance)
		for _, name := range m.compliance.Failed {
			t.Logf("    fails: %s", name)
		}
	}
	units := map[string]bool{}
	for unit := range m.exposures {
		units[unit] = true
	}
	for unit := range stock.exposures {
		units[unit] = true
	}
	var lines []string
	for unit := range units {
		lines = append(lines, fmt.Sprintf("%-42s %6s %6s", unit, level(stock.exposures, unit), level(m.exposures, unit)))
	}
	slices.Sort(lines)
	if len(lines) > 0 {
		t.Logf("Exposure of services, of 10                 stock   ours\n    %s", strings.Join(lines, "\n    "))
	}
}

func level(e Exposures, unit string) string {
	if l, ok := e[unit]; ok {
		return fmt.Sprintf("%.1f", l)
	}
	return "-"
}

func (m measured) judge(t *testing.T) []string {
	t.Helper()
	r := reasons(t)
	if engine() == lab.Nspawn {
		t.Logf("a container has its host's kernel: %d rules and %d tests are not judged (LAB_VM=qemu judges them)", len(r.OpenSCAP.Kernel), len(r.Lynis.Kernel))
		if m.compliance != nil {
			c := m.compliance.Without(r.OpenSCAP.Kernel...)
			m.compliance = &c
		}
		if m.lynis != nil {
			a := m.lynis.Without(r.Lynis.Kernel...)
			m.lynis = &a
		}
	}
	var wrong []string
	if m.lynis != nil {
		wrong = append(wrong, r.JudgeLynis(*m.lynis)...)
	}
	if m.exposures != nil {
		wrong = append(wrong, r.JudgeExposure(m.exposures)...)
	}
	if m.compliance != nil {
		wrong = append(wrong, r.JudgeOpenSCAP(*m.compliance)...)
		own := m.compliance.Without(keys(r.OpenSCAP.Elsewhere)...)
		t.Logf("OpenSCAP, ours, of the rules that an image decides: %s", own)
	}
	return wrong
}

func keys(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	return names
}

func lynis(t *testing.T, i *lab.Instance) *Audit {
	t.Helper()
	a, err := ParseLynis(strings.NewReader(inside(t, i, "sh", "-c", runLynis)))
	if err != nil {
		t.Fatal(err)
	}
	return &a
}

func exposures(t *testing.T, i *lab.Instance) Exposures {
	t.Helper()
	e, err := ParseExposures(inside(t, i, "sh", "-c", runExposure))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func openSCAP(t *testing.T, i *lab.Instance) *Compliance {
	t.Helper()
	r, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseOpenSCAP(strings.NewReader(inside(t, i, "sh", "-c", runOpenSCAP, r.OpenSCAP.Profile)))
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

func engine() lab.Engine {
	if vm := os.Getenv("LAB_VM"); vm != "" {
		return lab.Engine(vm)
	}
	return lab.Nspawn
}

// boot launches one instance of an image in a lab of its own, waits until it is
// at rest, and brings the measuring programs there.
func boot(t *testing.T, image, userData string) *lab.Instance {
	t.Helper()
	folder := os.Getenv("VPNAMI_MEASURE")
	if folder == "" {
		t.Fatal("VPNAMI_MEASURE is not set: it names the folder of the images and the measuring programs (make check-image sets it)")
	}
	program, err := exec.LookPath("vpnami-lab")
	if err != nil {
		t.Fatalf("finding vpnami-lab (make build puts it into bin/): %v", err)
	}
	if program, err = filepath.Abs(program); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	// A lab for each release, so that both may be measured at once.
	_, release, _ := strings.Cut(image, "-")
	name := "m" + release
	ctx := within(t, 2*time.Minute)
	if err := lab.Down(ctx, name, log); err != nil {
		t.Fatal(err)
	}
	l, err := lab.Up(ctx, lab.Options{Name: name, Image: filepath.Join(folder, image), Engine: engine(), Program: program, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	i, err := l.Launch(ctx, lab.LaunchSpec{
		Name: "step", PrivateAddress: netip.MustParseAddr("10.0.2.2"), Groups: []string{l.VPC().GroupStep}, UserData: userData,
	})
	if err != nil {
		t.Fatal(err)
	}
	rest(t, i)
	bring(t, i, filepath.Join(folder, "programs"))
	return i
}

// rest waits until the machine has booted: cloud-init is over, sshd runs.
func rest(t *testing.T, i *lab.Instance) {
	t.Helper()
	ctx := within(t, 20*time.Minute)
	for {
		// "degraded" is at rest, too.
		state, err := i.Exec(ctx, "systemctl", "is-system-running", "--wait")
		state = strings.TrimSpace(state)
		if state == "running" || state == "degraded" {
			failed := inside(t, i, "systemctl", "--failed", "--plain", "--no-legend")
			t.Logf("the system is %s %s", state, failed)
			return
		}
		select {
		case <-ctx.Done():
			console, _ := i.Console()
			t.Fatalf("the machine does not come to rest: %q, %v\n%s", state, err, console[max(0, len(console)-2000):])
		case <-time.After(time.Second):
		}
	}
}

func bring(t *testing.T, i *lab.Instance, programs string) {
	t.Helper()
	pack := exec.CommandContext(within(t, time.Minute), "tar", "--create", "--directory", programs, "usr", "etc")
	pipe, err := pack.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	unpack, err := i.Command(within(t, 5*time.Minute), "sh", "-c", "mkdir -p "+bench+" && tar --extract --directory "+bench)
	if err != nil {
		t.Fatal(err)
	}
	unpack.Stdin, unpack.Stderr = pipe, &complaint
	if err := pack.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unpack.Run(); err != nil {
		t.Fatalf("bringing the measuring programs: %v: %s", err, complaint.String())
	}
	if err := pack.Wait(); err != nil {
		t.Fatal(err)
	}
}

func inside(t *testing.T, i *lab.Instance, args ...string) string {
	t.Helper()
	// Lynis takes 40 s in a container, and an emulated machine on a busy host may
	// be thirty times as slow.
	out, err := i.Exec(within(t, 30*time.Minute), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
