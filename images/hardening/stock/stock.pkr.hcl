# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# What vpnami's image is measured against: the same distribution with the same
# programs, as packages have them. No provisioner.

packer {
  required_version = ">= 1.11.0"
  required_plugins {
    vpnami = {
      source  = "github.com/vpnami/vpnami"
      version = ">= 0.1.0"
    }
  }
}

variable "release" {
  type        = string
  default     = "trixie"
  description = "Code name of Debian's release."
}

variable "output_directory" {
  type        = string
  description = "Folder that the image is put in."
}

source "vpnami-bootstrap" "stock" {
  release          = var.release
  output_directory = var.output_directory
  packages         = ["chrony", "iptables", "iptables-persistent", "openvpn", "unattended-upgrades"]
}

build {
  name    = "stock"
  sources = ["source.vpnami-bootstrap.stock"]
}
