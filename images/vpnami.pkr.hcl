# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The one image of vpnami. Every source goes through the build block of this file,
# so that what is rehearsed on one machine is what is launched.
#
#   packer build images                    the AMI (amazon.pkr.hcl and release.auto.pkrvars.hcl join)
#   packer build images/vpnami.pkr.hcl     this file alone: an image for this machine, without
#                                          a cloud account and without the plugin for Amazon

packer {
  required_version = ">= 1.11.0"
  required_plugins {
    vpnami = {
      source  = "github.com/vpnami/vpnami"
      version = ">= 0.1.0"
    }
  }
}

variable "sources" {
  type        = list(string)
  default     = ["source.vpnami-bootstrap.local"]
  description = "What the image is made of: source.vpnami-bootstrap.local, source.amazon-ebs.ubuntu, or both."
}

variable "backports" {
  type        = bool
  default     = false
  description = "Take OpenVPN 2.7 and its kernel from the backports of Debian 13: data channel offload."
}

variable "packages" {
  type        = list(string)
  default     = []
  description = "Packages to install besides those that vpnami needs."
}

variable "manifest_path" {
  type        = string
  default     = ""
  description = "File of this machine that the image's manifest is also written to: packages, files, versions. Its folder must be there. Empty: none; the image has it in any case, and a local image has it beside itself."
}

variable "sbom_path" {
  type        = string
  default     = ""
  description = "File of this machine that the image's SBOM is also written to, CycloneDX in JSON. As with manifest_path."
}

variable "artifacts" {
  type        = string
  default     = "packer-manifest.json"
  description = "File of this machine that the AMIs are listed in, one a region, with what they were made of; \"vpnami-images promote\" reads it. Its folder must be there."
}

variable "version" {
  type        = string
  default     = "0.1.0"
  description = "Version of the image, X.Y.Z: in the AMI's name and tags."

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", var.version))
    error_message = "The version is three numbers with dots, such as 1.2.3."
  }
}

variable "commit" {
  type        = string
  default     = "unknown"
  description = "Commit that the template and the plugin were taken from: in the AMI's tags. make passes it."
}

variable "distribution" {
  type        = string
  default     = "debian"
  description = "What the local image is made of: debian or ubuntu."
}

variable "release" {
  type        = string
  default     = ""
  description = "Code name of the local image's release: bookworm, trixie (Debian); noble, resolute (Ubuntu). Empty: trixie, noble."
}

variable "mirror" {
  type        = string
  default     = ""
  description = "Archive that the packages of the local image come from. Empty: what the host's own apt uses."
}

variable "security_mirror" {
  type        = string
  default     = ""
  description = "Archive of the security updates, to be given beside a mirror of your own for Debian."
}

variable "disk_size" {
  type        = string
  default     = "2G"
  description = "Size of the local disk image; it grows on its first boot to the size of its volume."
}

variable "disk_formats" {
  type        = list(string)
  default     = ["raw"]
  description = "Formats of the local disk image: raw, qcow2."
}

variable "output_directory" {
  type        = string
  default     = "build/image"
  description = "Folder that the local image is put in, from where packer is called: root.tar, disk.raw, manifest.json."
}

# An image for this machine: a root file system for containers and a disk that
# boots under UEFI. No cloud account, no guest; needs root.
source "vpnami-bootstrap" "local" {
  distribution     = var.distribution
  release          = var.release
  mirror           = var.mirror
  security_mirror  = var.security_mirror
  backports        = var.backports
  disk_size        = var.disk_size
  disk_formats     = var.disk_formats
  output_directory = var.output_directory
}

build {
  name    = "vpnami"
  sources = var.sources

  provisioner "vpnami" {
    packages      = var.packages
    manifest_path = var.manifest_path
    sbom_path     = var.sbom_path
  }

  # What a later step reads instead of Packer's output.
  post-processor "manifest" {
    only       = ["amazon-ebs.ubuntu"]
    output     = var.artifacts
    strip_path = true
    custom_data = {
      version = var.version
      commit  = var.commit
      source  = build.SourceAMI
    }
  }
}
