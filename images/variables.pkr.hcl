# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

variable "distribution" {
  type        = string
  default     = "debian"
  description = "What the local image is made of: debian or ubuntu."
}

variable "release" {
  type        = string
  default     = ""
  description = "Code name of the release: bookworm, trixie (Debian); noble, resolute (Ubuntu). Empty: trixie, noble."
}

variable "mirror" {
  type        = string
  default     = ""
  description = "Archive that the packages come from. Empty: what the host's own apt uses."
}

variable "security_mirror" {
  type        = string
  default     = ""
  description = "Archive of the security updates, to be given beside a mirror of your own for Debian."
}

variable "packages" {
  type        = list(string)
  default     = []
  description = "Packages to install besides those that vpnami needs."
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
