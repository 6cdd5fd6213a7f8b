// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// runStatus prints how the last run and sync ended, and what is now.
func runStatus(ctx context.Context, args []string, out, errors io.Writer) int {
	flags := flag.NewFlagSet("status", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	asJSON := flags.Bool("json", false, "")
	root := flags.String("root", "/", "")
	if err := flags.Parse(args); err != nil {
		return misused(errors, err)
	}
	if flags.NArg() > 0 {
		return misused(errors, fmt.Errorf("status takes no argument %q", flags.Arg(0)))
	}
	where := layout{root: *root}
	result, err := readResult(where.result())
	if err != nil {
		_, _ = fmt.Fprintf(errors, "vpnami-firstboot: %v: it has not finished a run yet; look at \"journalctl -u vpnami-firstboot\"\n", err)
		return exitFound
	}
	if end, err := readSync(where.sync()); err != nil {
		_, _ = fmt.Fprintf(errors, "vpnami-firstboot: %v\n", err)
	} else if !end.Tried.IsZero() {
		result.Sync = &end
	}
	if baked, err := readBaked(where.imageManifest()); err != nil {
		_, _ = fmt.Fprintf(errors, "vpnami-firstboot: %v\n", err)
	} else {
		result.Image = &baked
	}
	if result.Role == RoleVPN {
		result.Sessions = sessionsNow(where.sessions())
		if *root == "/" { // another root is another machine's
			dial := new(net.Dialer).DialContext
			service := newMetadata("", dial)
			result.SSHNow = sshNow(ctx, service, regional(service, os.Getenv("AWS_ENDPOINT_URL"), dial))
		}
	}
	if *asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(result); err != nil {
			_, _ = fmt.Fprintf(errors, "vpnami-firstboot: showing the result: %v\n", err)
			return exitFound
		}
		return exitReady
	}
	bootID, _ := os.ReadFile(where.bootID())
	_, _ = out.Write(inWords(result, string(bytes.TrimSpace(bootID)), time.Now()))
	return exitReady
}

// inWords is the result for a person.
func inWords(r Result, bootID string, now time.Time) []byte {
	var b bytes.Buffer
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("state", "%s", r.State)
	if r.BootID != bootID {
		line("", "(of an earlier boot: the run of this one has not finished)")
	}
	if r.Cause != "" {
		line("cause", "%s", r.Cause)
	}
	if r.Advice != "" {
		line("advice", "%s", r.Advice)
	}
	if r.Role != "" {
		line("role", "%s", r.Role)
	}
	if r.Instance != "" {
		line("instance", "%s", r.Instance)
	}
	line("version", "%s", r.Version)
	if i := r.Image; i != nil {
		line("image", "%s of vpnami %s (commit %s) on %s, %s", i.ID, i.VPNAMI.Version, i.VPNAMI.Commit, i.Source.OS, i.Source.Architecture)
	}
	line("finished", "%s, after %s", r.Finished.Format(time.RFC3339), r.took())
	steps := make([]string, 0, len(r.Steps))
	for _, s := range r.Steps {
		text := fmt.Sprintf("%s %d ms", s.Name, s.TookMS)
		if s.Failed {
			text += " (failed)"
		}
		steps = append(steps, text)
	}
	line("steps", "%s", strings.Join(steps, ", "))
	if r.Port != "" {
		line("tunnel", "%s on %s", r.Network, r.Port)
	}
	if s := r.Server; s != nil {
		line("server", "%s, sha256 %s", s.Name, s.Fingerprint)
		line("", "its certificate ends %s, the CA's %s", day(s.NotAfter, now), day(s.CANotAfter, now))
		line("people", "%d, generation %d of the secret", s.People, s.Generation)
	}
	if o := r.Own; o != nil {
		line("", "%d of them have a VPC address of their own", o.People)
		for _, piece := range o.Pieces {
			line("own", "%s goes out as %s", piece.Tunnel, piece.VPC)
		}
		for _, piece := range o.Missing {
			line("own", "%s goes out as the gateway: %s is NOT ASSIGNED to its interface", piece.Tunnel, piece.VPC)
		}
	}
	if c := r.CRL; c != nil {
		line("crl", "number %s, %d revoked, to be renewed by %s", c.Number, c.Revoked, day(c.NextUpdate, now))
	}
	if s := r.SSH; s != nil {
		switch {
		case len(s.Left) > 0:
			for _, left := range s.Left {
				line("ssh", "STAYS OPEN by %s: %s", left.What, left.Why)
			}
		case len(s.Revoked) > 0:
			line("ssh", "closed from outside the VPC: revoked %s", strings.Join(s.Revoked, ", "))
		default:
			line("ssh", "closed from outside the VPC")
		}
	}
	if s := r.SSHNow; s != nil {
		switch {
		case s.Error != "":
			line("ssh now", "not known: %s", s.Error)
		case len(s.Open) == 0:
			line("ssh now", "closed from outside the VPC, says EC2")
		}
		for _, rule := range s.Open {
			line("ssh now", "OPEN by %s, says EC2", rule)
		}
	}
	if s := r.Sessions; s != nil {
		if s.Error != "" {
			line("sessions", "not known: %s", s.Error)
		} else {
			line("sessions", "%d, as of %s", s.Count, s.At.Format(time.RFC3339))
		}
	}
	if s := r.Sync; s != nil {
		if s.Cause != "" {
			line("sync", "FAILED at %s, nothing was changed: %s", s.Tried.Format(time.RFC3339), s.Cause)
			line("", "%s", s.Advice)
		}
		if !s.Looked.IsZero() {
			line("sync", "up to date at %s", s.Looked.Format(time.RFC3339))
		}
		if !s.Brought.IsZero() {
			line("", "something new at %s", s.Brought.Format(time.RFC3339))
		}
	}
	for _, warning := range r.Warnings {
		line("warning", "%s", warning)
	}
	return b.Bytes()
}

func day(t, now time.Time) string {
	days := int(t.Sub(now).Hours() / 24)
	return fmt.Sprintf("%s (%d days)", t.UTC().Format(time.DateOnly), days)
}
