// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

//go:build aws

package verify

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/vpnami/packer-plugin-vpnami/images/lab"
	"github.com/vpnami/packer-plugin-vpnami/images/verify/leftovers"
)

const (
	// awsAbandoned: a run takes some 20 minutes, and SKIP_destroy may keep what it made
	// for a look at it.
	awsAbandoned = 3 * time.Hour
	// awsBoots: EC2 brings the console's text minutes late on some types.
	awsBoots = 15 * time.Minute
	// awsMirror answers over HTTP with the address that it sees.
	awsMirror = "checkip.amazonaws.com"
	// Nobody's office, so that the routes of the tunnel take no address away that
	// this machine has another way to.
	awsNetwork = "10.213.0.0/16"
	awsTunnel  = "10.213.255.0/24"
)

// TestAWS is the suite on a real account. It needs root, for the tunnel of the client,
// which is this machine itself. Stages are left out by SKIP_launch=1, SKIP_verify=1,
// SKIP_destroy=1; what one made is in VPNAMI_AWS_FOLDER for a later run of the next.
//
//	VPNAMI_AMI        the AMI
//	VPNAMI_AWS_LOGIN  the image's default user
func TestAWS(t *testing.T) {
	folder := os.Getenv("VPNAMI_AWS_FOLDER")
	if folder == "" {
		t.Fatal("VPNAMI_AWS_FOLDER is not set; \"make verify-aws\" sets it")
	}
	if os.Geteuid() != 0 {
		t.Fatal("this must be root: it opens a tunnel to the gateway on this machine")
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Region == "" {
		t.Fatal("no region is set: set AWS_REGION, or AWS_PROFILE to a profile that has one")
	}
	if _, err := cfg.Credentials.Retrieve(within(t, time.Minute)); err != nil {
		t.Fatalf("looking for AWS credentials: %v: log in (\"aws sso login\"), or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", err)
	}
	target := awsTarget{
		cfg: cfg, env: []string{"AWS_REGION=" + cfg.Region}, command: exec.CommandContext,
		client: lab.Here(filepath.Join(folder, "key"), folder),
		ami:    os.Getenv("VPNAMI_AMI"), login: os.Getenv("VPNAMI_AWS_LOGIN"), mirror: awsMirror, boots: awsBoots, folder: folder,
		network: awsNetwork, tunnel: awsTunnel,
	}
	own := ""
	if os.Getenv("SKIP_launch") != "" {
		own = target.read(t).Name // however old
	}
	if err := leftovers.Open(cfg).End(t.Context(), time.Now().Add(-awsAbandoned), own, func(what string) { t.Log("an earlier run was killed: " + what) }); err != nil {
		t.Fatal(err)
	}
	fromOutside(t, target)
}
