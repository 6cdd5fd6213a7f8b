// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"
)

// version is set at build time: -ldflags "-X main.version=1.2.3".
var version = "0.0.0-dev"

const usage = `vpnami-firstboot makes an instance what it was launched as.

Usage:
    vpnami-firstboot run                              as the unit does, at every boot
    vpnami-firstboot sync                             bring in what was published since, as a timer does
    vpnami-firstboot status [--json]                  how the last run and sync ended, who may reach SSH now, sessions
    vpnami-firstboot whose [--json] ADDRESS...        who comes with these addresses of the VPC, as its logs have them
    vpnami-firstboot check-image [--root DIR] [--json]
                                                      is there anything in an image that must not be
    vpnami-firstboot check-readable [--root DIR] [--client FILE] [PROGRAM ARGUMENT...]
                                                      may the caller read who is revoked: if so, become PROGRAM, as the
                                                      units of the daemon and of the probe do, once the packet filter is
                                                      loaded and, with a client's configuration, its server listens
    vpnami-firstboot version

Exit codes of run and sync: 0 ready, 75 waiting, 78 refused, 69 degraded.
Exit codes of the others: 0, 1 for a finding or a missing result. 64: wrong usage.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command runs one verb and returns the exit code.
func command(ctx context.Context, args []string, out, errors io.Writer) int {
	if len(args) == 0 {
		_, _ = io.WriteString(errors, usage)
		return exitUsage
	}
	verb, rest := args[0], args[1:]
	switch verb {
	case "run":
		if len(rest) > 0 {
			return misused(errors, fmt.Errorf("run takes no arguments, not %q", rest[0]))
		}
		return atBoot(errors, func(b boot) int { return b.run(ctx).exitCode() })
	case "sync":
		if len(rest) > 0 {
			return misused(errors, fmt.Errorf("sync takes no arguments, not %q", rest[0]))
		}
		return atBoot(errors, func(b boot) int { return b.sync(ctx, out, errors) })
	case "status":
		return runStatus(ctx, rest, out, errors)
	case "whose":
		return runWhose(rest, out, errors)
	case "check-image":
		return runCheckImage(rest, out, errors)
	case "check-readable":
		return runCheckReadable(ctx, rest, errors, unix.Exec)
	case "version":
		_, _ = fmt.Fprintln(out, version)
		return exitReady
	case "help", "-h", "--help":
		_, _ = io.WriteString(out, usage)
		return exitReady
	default:
		return misused(errors, fmt.Errorf("unknown verb %q", verb))
	}
}

func misused(to io.Writer, err error) int {
	if !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintf(to, "vpnami-firstboot: %v\n\n", err)
	}
	_, _ = io.WriteString(to, usage)
	return exitUsage
}

// atBoot makes the clients for what works on the machine.
func atBoot(errors io.Writer, work func(boot) int) int {
	log := slog.New(slog.NewTextHandler(errors, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	if os.Geteuid() != 0 {
		log.Error("this needs root: it writes the state and starts units")
		return exitUsage
	}
	where := layout{root: "/"}
	dial := new(net.Dialer).DialContext
	service := newMetadata("", dial)
	b := boot{
		log:       log,
		console:   console{to: openConsole(where.console())},
		layout:    where,
		placement: placement{current: currentFolder, hook: admitHook, offload: offloadFile},
		metadata:  service,
		services:  regional(service, os.Getenv("AWS_ENDPOINT_URL"), dial),
		tokenless: tokenless(metadataAddress, dial),
		far:       far(metadataAddress),
		systemd:   dialSystemd,
		lastWords: journalWords,
		doing:     &doing{},
		now:       time.Now,
		version:   version,
	}
	return work(b)
}

// withoutTime leaves the time to the journal.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// regional makes the clients once: they share the role's credentials and the
// open connections.
func regional(service *imds.Client, endpoint string, dial dialer) func(string) services {
	made := map[string]services{}
	return func(region string) services {
		if _, ok := made[region]; !ok {
			made[region] = newServices(service, region, endpoint, dial)
		}
		return made[region]
	}
}

// dialSystemd connects to systemd itself, not through the message bus, which
// may not be up yet and could not be asked for more. The connection is closed
// when ctx ends.
func dialSystemd(ctx context.Context) (units, func(), error) {
	connection, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return nil, nil, err
	}
	return connection, connection.Close, nil
}
