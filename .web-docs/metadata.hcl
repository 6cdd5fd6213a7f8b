# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# What the portal of Packer's integrations reads. Everything beside this file is
# generated from plugin/docs and the comments of the options: make generate.
integration {
  name        = "vpnami"
  description = "Bakes one hardened image from which an OpenVPN gateway and its bastion are launched on EC2."
  identifier  = "packer/vpnami/vpnami"
  docs {
    process_docs    = true
    readme_location = "./README.md"
    external_url    = "https://github.com/vpnami/packer-plugin-vpnami"
  }
  license {
    type = "MPL-2.0"
    url  = "https://github.com/vpnami/packer-plugin-vpnami/blob/main/LICENSE"
  }
  component {
    type = "builder"
    name = "vpnami-bootstrap"
    slug = "bootstrap"
  }
  component {
    type = "provisioner"
    name = "vpnami"
    slug = "vpnami"
  }
}
