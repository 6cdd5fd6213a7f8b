// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProveInAFlood: whoever has seen the first packet of one client on its way can
// send it again, a few hundred times a second, without a key: people come in all the
// same, the proof's client among them.
func TestProveInAFlood(t *testing.T) {
	m, server := serve(t, newAuthority(t))
	packet := m.firstPacket(t)
	// A socket is of the network in which it was made.
	connection, err := net.Dial("udp4", "192.0.2.1:1194")
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	const enough = 500
	sent, done := make(chan struct{}), make(chan struct{})
	defer close(done)
	go func() {
		for n := 0; ; n++ {
			if n == enough {
				close(sent)
			}
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				_, _ = connection.Write(packet)
			}
		}
	}()
	<-sent
	if err := proveHere(t, m); err != nil {
		t.Error(err)
	}
	if said := server.text(); strings.Count(said, "Control Channel: using tls-crypt-v2 key") < enough/2 {
		t.Errorf("the flood does not reach the daemon:\n%.2000s", said)
	}
}

// firstPacket is what a client says first, as somebody on its way sees it.
func (m machine) firstPacket(t *testing.T) []byte {
	t.Helper()
	here, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	_, port, err := net.SplitHostPort(here.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(m.layout.current(), probeConfig))
	if err != nil {
		t.Fatal(err)
	}
	put(t, m.layout.root, "elsewhere.conf", strings.Replace(string(config), "127.0.0.1 1194", "127.0.0.1 "+port, 1))
	client := exec.Command("openvpn", "--config", filepath.Join(m.layout.root, "elsewhere.conf"))
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Process.Kill(); _ = client.Wait() }()
	packet := make([]byte, 2048)
	if err := here.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := here.ReadFrom(packet)
	if err != nil {
		t.Fatal(err)
	}
	return packet[:n]
}
