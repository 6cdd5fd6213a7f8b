// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build lab && bench

package verify

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
)

// bareStart starts the daemon as a person would, by hand and unconfined, and
// prints the milliseconds until it serves. "date" costs one of them.
const bareStart = `
systemctl stop openvpn-server@vpn
cd /tmp; rm -f bare.log; mkfifo bare.log
began=$(date +%s%N)
openvpn --config /var/lib/vpnami/current/server.conf >bare.log &
while read -r line; do
	case "$line" in *"Initialization Sequence Completed"*) break ;; esac
done <bare.log
echo $(( ($(date +%s%N) - began) / 1000 ))
kill %1; wait
`

// firstStart makes the instance forget what it is, puts the image's own packet
// filter back ($1, $2), and lets the unit do its work as on a first boot. SSH was
// closed by the boot; the groups are read all the same.
const firstStart = `
systemctl stop vpnami-firstboot vpnami-sync.timer openvpn-server@vpn vpnami-probe
rm -rf /var/lib/vpnami/*
printf %s "$1" >/etc/iptables/rules.v4; printf %s "$2" >/etc/iptables/rules.v6
systemctl reload netfilter-persistent
systemctl start vpnami-firstboot
`

// alone times the program doing nothing, and the smallest program there is.
const alone = `
for i in 1 2 3 4 5 6 7 8 9 10 11; do
	began=$(date +%s%N); vpnami-firstboot version >/dev/null; ended=$(date +%s%N)
	/bin/true; echo $(( (ended - began) / 1000 )) $(( ($(date +%s%N) - ended) / 1000 ))
done
`

// resident runs the program and prints its ru_maxrss, the fifth of getrusage's
// words; 98 is getrusage and -1 RUSAGE_CHILDREN, on amd64. Two thirds of it are
// pages of the program's file, of which the kernel maps 64 KiB around each that
// is touched (fault_around_bytes) and which every process of it shares.
const resident = `
my $child = fork // die;
if (!$child) { open STDOUT, ">", "/dev/null"; open STDERR, ">&", \*STDOUT; exec "vpnami-firstboot", "run" }
waitpid $child, 0; die "exit $?" if $?;
my $usage = "\0" x 144; syscall(98, -1, $usage) == 0 or die;
print((unpack "q*", $usage)[4], "\n");
`

// TestBench measures a first boot beside a bare start of openvpn, in turns on one
// instance: from the start of the program to its result, the proof included,
// with the lab's AWS warm. It fails for what is broken, never for what is slow.
func TestBench(t *testing.T) {
	vpn := launch(t, lab.LaunchSpec{
		Name: "bench", PrivateAddress: netip.MustParseAddr("10.0.1.31"), PublicAddress: netip.MustParseAddr("203.0.113.31"),
		Groups: []string{newGatewayGroup(t, "bench")}, UserData: "#vpnami\nrole: vpn\nsecret: vpn/office\n",
	})
	r := ready(t, vpn)
	t.Logf("the boot itself, AWS cold                %8.1f ms", ms(r.Finished.Sub(r.Started)))
	var rules []string
	for _, name := range []string{"rules.v4", "rules.v6"} {
		text, err := os.ReadFile(filepath.Join("../rootfs/etc/iptables", name))
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, string(text))
	}
	var bare, ours []time.Duration
	steps := map[string][]time.Duration{}
	for range 11 {
		text := inside(t, vpn, "bash", "-c", bareStart)
		us, err := strconv.Atoi(strings.Fields(text)[0])
		if err != nil {
			t.Fatal(err, text)
		}
		bare = append(bare, time.Duration(us)*time.Microsecond)
		inside(t, vpn, "bash", "-ec", firstStart, "bash", rules[0], rules[1])
		r := ready(t, vpn)
		ours = append(ours, r.Finished.Sub(r.Started))
		for _, s := range r.Steps {
			steps[s.Name] = append(steps[s.Name], time.Duration(s.TookMS)*time.Millisecond)
		}
	}
	t.Logf("from start to ready                      %8.1f ms   openvpn alone %8.1f ms   %5.1f times as long   (bound: 8)",
		ms(median(ours)), ms(median(bare)), float64(median(ours))/float64(median(bare)))
	for _, s := range r.Steps {
		t.Logf("    %-20s %8.0f ms", s.Name, ms(median(steps[s.Name])))
	}
	var start, nothing []time.Duration
	for line := range strings.Lines(inside(t, vpn, "bash", "-c", alone)) {
		var a, b int
		if _, err := fmt.Sscan(line, &a, &b); err != nil {
			t.Fatal(err, line)
		}
		start, nothing = append(start, time.Duration(a)*time.Microsecond), append(nothing, time.Duration(b)*time.Microsecond)
	}
	t.Logf("a start of the program that does nothing %8.1f ms   /bin/true     %8.1f ms                         (bound: 8 ms)", ms(median(start)), ms(median(nothing)))
	// The largest child's resident set, in KiB (getrusage(2)). Perl, because the
	// figure begins with what the child was before it became the program: of
	// Python that alone is more than ours.
	most := inUnit(t, vpn, "--wait", "--pipe", "-p", "PassEnvironment=AWS_ENDPOINT_URL", "perl", "-e", resident)
	kib, err := strconv.Atoi(most)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("resident at its most, a whole run        %8.1f MiB                                              (bound: 10 MiB)", float64(kib)/1024)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
