# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The one image of vpnami. Every source goes through the same build block, so that
# what is rehearsed on one machine is what is launched.

packer {
  required_version = ">= 1.11.0"
  required_plugins {
    vpnami = {
      source  = "github.com/vpnami/vpnami"
      version = ">= 0.1.0"
    }
  }
}

# An image for this machine: a root file system for containers and a disk that
# boots under UEFI. No cloud account, no guest; needs root.
source "vpnami-bootstrap" "local" {
  distribution     = var.distribution
  release          = var.release
  mirror           = var.mirror
  security_mirror  = var.security_mirror
  disk_size        = var.disk_size
  disk_formats     = var.disk_formats
  output_directory = var.output_directory
}

build {
  name    = "vpnami"
  sources = ["source.vpnami-bootstrap.local"]

  provisioner "vpnami" {
    packages = var.packages
  }
}
