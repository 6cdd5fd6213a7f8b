// SPDX-FileCopyrightText: The vpnami authors
// SPDX-License-Identifier: MPL-2.0

package lab

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// hypervisorUUID is the machine's UUID as EC2 forms it: it begins with "ec2".
// cloud-init takes a machine for one of EC2 by that alone, and asks for an
// IMDSv2 token only there.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
func hypervisorUUID(s station) string {
	sum := sha256.Sum256([]byte(machineName(s)))
	digits := fmt.Sprintf("ec2%x", sum)
	return fmt.Sprintf("%s-%s-%s-%s-%s", digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32])
}

// hypervisorFile lays down what a container is shown as /sys/hypervisor/uuid,
// which is where an EC2 instance under Xen has it; a container has no firmware
// to read it from.
func hypervisorFile(s station) (string, error) {
	path := filepath.Join(s.disk, "hypervisor-uuid")
	if err := os.WriteFile(path, []byte(hypervisorUUID(s)+"\n"), 0o644); err != nil { //nolint:gosec // every user of the container may read it
		return "", fmt.Errorf("writing the hypervisor's UUID: %w", err)
	}
	return path, nil
}
