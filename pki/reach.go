// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnami/packer-plugin-vpnami/pki/directives"
	"github.com/vpnami/packer-plugin-vpnami/pki/profile"
	"github.com/vpnami/packer-plugin-vpnami/pki/tlscrypt"
)

// knockPause is between two packets to one address: UDP loses some.
const knockPause = time.Second

// reached is what is known of one address, and its form with --json.
type reached struct {
	Remote  string  `json:"remote"`
	Proto   string  `json:"proto"`
	Address string  `json:"address,omitempty"`
	Open    bool    `json:"open"`
	TookMS  float64 `json:"took_ms,omitempty"`
	Cause   string  `json:"cause,omitempty"`
}

func (d *desk) reachCommand() *cobra.Command {
	var asJSON bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "reach PROFILE",
		Short: "See whether the gateway's port answers from here",
		Long: `Sends the first packet of a handshake, sealed with the profile's key, to each
remote of the profile, and waits for the gateway's answer, which must be sealed
with the same key. Nobody is logged in and no tunnel is made. It works without
root and without OpenVPN.

A gateway whose window for old profiles is open ("migration open") has no such
key, and does not answer.

Exit code 0 means that every remote answered, 1 that one did not.`,
		Example: "  vpnami-pki reach client1.ovpn\n  vpnami-pki reach client1.ovpn --timeout 2s --json",
		Args:    exactly(1, "one PROFILE, such as \"client1.ovpn\""),
		RunE: func(cmd *cobra.Command, args []string) error {
			const longest = time.Hour
			if timeout <= 0 || timeout > longest {
				return usage(cmd, "--timeout is %s, it must be more than 0 and at most %s", timeout, longest)
			}
			knock, err := readKnock(args[0])
			if err != nil {
				return err
			}
			return d.reach(cmd.Context(), knock, timeout, asJSON)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for each address")
	cmd.Flags().BoolVar(&asJSON, "json", false, "a list of objects, for programs")
	return cmd
}

func readKnock(path string) (profile.Knock, error) {
	file, err := os.Open(path)
	if err != nil {
		return profile.Knock{}, fmt.Errorf("reading the profile: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, directives.MaxBytes+1))
	if err != nil {
		return profile.Knock{}, fmt.Errorf("reading the profile: %w", err)
	}
	knock, err := profile.ParseKnock(text)
	if err != nil {
		return profile.Knock{}, fmt.Errorf("reading the profile %q: %w", path, err)
	}
	return knock, nil
}

func (d *desk) reach(ctx context.Context, knock profile.Knock, timeout time.Duration, asJSON bool) error {
	results := []reached{}
	closed := 0
	for _, door := range knock.Doors {
		for _, result := range reachDoor(ctx, knock.Key, door, timeout) {
			results = append(results, result)
			if !result.Open {
				closed++
			}
			if !asJSON {
				d.say("%s", result)
			}
		}
	}
	if asJSON {
		if err := d.encode(results); err != nil {
			return err
		}
	}
	if closed > 0 {
		return fmt.Errorf("reaching the gateway: %d of %s did not answer", closed, plural(len(results), "address", "addresses"))
	}
	return nil
}

func (r reached) String() string {
	where := r.Remote + "/" + r.Proto
	if r.Address != "" && r.Address != r.Remote {
		where += " (" + r.Address + ")"
	}
	if r.Open {
		return fmt.Sprintf("%s: open, answered in %.0f ms", where, r.TookMS)
	}
	return where + ": " + r.Cause
}

// reachDoor tries every address that the host name has.
func reachDoor(ctx context.Context, key tlscrypt.ClientKey, door profile.Door, timeout time.Duration) []reached {
	blank := reached{Remote: door.String(), Proto: door.Protocol}
	lookup, cancel := context.WithTimeout(ctx, timeout)
	addresses, err := net.DefaultResolver.LookupNetIP(lookup, "ip4", door.Host)
	cancel()
	if err != nil {
		blank.Cause = fmt.Sprintf("the name cannot be looked up (%v): check the name and this machine's DNS", err)
		return []reached{blank}
	}
	var results []reached
	for _, address := range addresses {
		result := blank
		target := netip.AddrPortFrom(address.Unmap(), door.Port)
		result.Address = target.String()
		took, err := reachAddress(ctx, key, target, door.Protocol, timeout)
		if err != nil {
			result.Cause = explain(err, target, door.Protocol, timeout)
		} else {
			result.Open, result.TookMS = true, float64(took.Microseconds())/1000
		}
		results = append(results, result)
	}
	return results
}

func explain(err error, target netip.AddrPort, protocol string, timeout time.Duration) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("refused: the machine is there and nothing listens on %s port %d: is its OpenVPN up?", protocol, target.Port())
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s: check that the gateway is up, that its security group admits %s port %d from here, that %s is its address, and that the profile is of the authority it was given (OpenVPN drops what another authority's key has sealed, without a word)",
			timeout, protocol, target.Port(), target.Addr())
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection was closed without an answer: something listens there; is it this profile's gateway?"
	}
	return err.Error()
}

func reachAddress(ctx context.Context, key tlscrypt.ClientKey, target netip.AddrPort, protocol string, timeout time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, protocol+"4", target.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	// Interrupting the command ends the wait.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if protocol == "tcp" {
		return knockStream(conn, key)
	}
	return knockPackets(ctx, conn, key)
}

// knockPackets sends a packet every second until one is answered. Each is the
// start of a handshake of its own, or the gateway would take it for a replay.
func knockPackets(ctx context.Context, conn net.Conn, key tlscrypt.ClientKey) (time.Duration, error) {
	type sent struct {
		session tlscrypt.Session
		at      time.Time
	}
	var tries []sent
	wrong := error(nil)
	buffer := make([]byte, 2048) // more than a packet of any MTU OpenVPN uses here
	for ctx.Err() == nil {
		session, err := newSession()
		if err != nil {
			return 0, err
		}
		tries = append(tries, sent{session, time.Now()})
		if _, err := conn.Write(key.Hello(session, time.Now())); err != nil {
			return 0, fmt.Errorf("sending: %w", err)
		}
		wait := time.Now().Add(knockPause)
		if end, ok := ctx.Deadline(); ok && end.Before(wait) {
			wait = end
		}
		if err := conn.SetReadDeadline(wait); err != nil {
			return 0, err
		}
		for {
			n, err := conn.Read(buffer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return 0, fmt.Errorf("waiting for the answer: %w", err)
			}
			for _, try := range tries {
				if wrong = key.CheckAnswer(try.session, buffer[:n]); wrong == nil {
					return time.Since(try.at), nil
				}
			}
		}
	}
	if wrong != nil {
		return 0, fmt.Errorf("something else than this profile's gateway answers: %w", wrong)
	}
	return 0, ctx.Err()
}

// knockStream is the same over TCP, where each packet has its length before it.
func knockStream(conn net.Conn, key tlscrypt.ClientKey) (time.Duration, error) {
	session, err := newSession()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	hello := key.Hello(session, start)
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(hello))) //nolint:gosec // a hello has 1346 bytes at most
	if _, err := conn.Write(append(framed, hello...)); err != nil {
		return 0, fmt.Errorf("sending: %w", err)
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return 0, fmt.Errorf("waiting for the answer: %w", err)
	}
	answer := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return 0, fmt.Errorf("reading the answer: %w", err)
	}
	if err := key.CheckAnswer(session, answer); err != nil {
		return 0, fmt.Errorf("something else than this profile's gateway answers: %w", err)
	}
	return time.Since(start), nil
}

func newSession() (tlscrypt.Session, error) {
	var s tlscrypt.Session
	if _, err := rand.Read(s[:]); err != nil {
		return s, fmt.Errorf("making a session number: %w", err)
	}
	return s, nil
}
