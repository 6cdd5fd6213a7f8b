# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# What is released. Read by itself when packer is given this folder; -var and
# -var-file have the last word.

sources      = ["source.amazon-ebs.ubuntu"]
version      = "0.1.0"
ubuntu       = "24.04"
architecture = "amd64"
volume_size  = 8
