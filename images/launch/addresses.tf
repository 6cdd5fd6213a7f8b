# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The machines' own addresses, where they are chosen. EC2 gives whoever asks by number
# even what is reserved, so nothing but this keeps a machine from an address that is a
# client's in the tunnel, where it would not be reached, or a person's in the VPC.

locals {
  chosen = merge(
    try(var.step.private_address, null) == null ? {} : { "step: private_address" = { address = var.step.private_address, subnet = local.step_block } },
    { for key, g in local.grouped ? {} : var.gateways : "gateways: ${key}: private_address" => { address = g.private_address, subnet = local.gateway_block }
    if g.private_address != null },
  )

  # Whose address each would be. A network has an address when the two begin alike, as
  # far as its prefix goes. AWS keeps the first four of a subnet and the last.
  conflicts = { for who, c in local.chosen : who => concat(
    cidrhost("${c.address}/${split("/", c.subnet)[1]}", 0) == cidrhost(c.subnet, 0) ? [] : ["it is not in the subnet ${c.subnet}"],
    contains([for n in [0, 1, 2, 3, -1] : cidrhost(c.subnet, n)], c.address) ? ["AWS keeps it, as the first four of the subnet ${c.subnet} and the last"] : [],
    [for n in values(local.tunnel_networks) : "it is in the tunnel network ${n}, whose addresses are the clients'" if
    cidrhost("${c.address}/${split("/", n)[1]}", 0) == cidrhost(n, 0)],
    [for n in flatten([for key in keys(local.prefixes) : var.gateways[key].addresses]) : "it is in ${n}, whose addresses are people's" if
    cidrhost("${c.address}/${split("/", n)[1]}", 0) == cidrhost(n, 0)],
    [for other, o in local.chosen : "it is that of \"${other}\" as well" if other != who && o.address == c.address],
  ) }
}
