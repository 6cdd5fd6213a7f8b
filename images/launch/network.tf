# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The network: a new VPC, or what is there. Everything else reads the locals.

# Without Local and Wavelength Zones, which an account may have opted into: a load
# balancer has no place there, nor have most types of instances.
data "aws_availability_zones" "here" {
  count = var.network == null ? 1 : 0
  state = "available"
  filter {
    name   = "zone-type"
    values = ["availability-zone"]
  }
}

locals {
  # One zone for one gateway; two behind a load balancer, as far as there are.
  zones = var.network != null ? [] : slice(
    sort(data.aws_availability_zones.here[0].names), 0,
    min(local.grouped ? 2 : 1, length(data.aws_availability_zones.here[0].names))
  )
  # /24 of a /16, as in the article: 10.0.1.0 for gateways and 10.0.2.0 for the
  # bastion; no smaller than AWS's /28.
  bits = min(8, 28 - tonumber(split("/", var.vpc_cidr)[1]))

  egress = coalesce(var.egress, local.grouped ? "none" : "gateway")

  vpc_id     = var.network == null ? aws_vpc.new[0].id : var.network.vpc_id
  vpc_blocks = var.network == null ? [var.vpc_cidr] : var.network.vpc_blocks

  gateway_subnets = var.network == null ? aws_subnet.gateway[*].id : var.network.gateway_subnets[*].id
  step_subnet     = var.step == null ? null : var.network == null ? aws_subnet.step[0].id : var.network.step_subnet.id
  step_block      = var.step == null ? null : var.network == null ? aws_subnet.step[0].cidr_block : var.network.step_subnet.block

  gateway_block = var.network == null ? aws_subnet.gateway[0].cidr_block : var.network.gateway_subnets[0].block

  # The subnets that were there, to find the one that a tunnel network lies in: the
  # new VPC's leave room for it.
  given_subnets = var.network == null ? {} : merge(
    { for i, s in var.network.gateway_subnets : "gateway-${i}" => s },
    var.network.step_subnet == null ? {} : { step = var.network.step_subnet },
  )
  subnets_by_block = { for key, s in local.given_subnets : s.block => key... }

  tunnel_networks = local.grouped ? var.slots : { one = var.tunnel_network }

  # Networks overlap when they begin alike, as far as the shorter prefix goes.
  tunnels_in_vpc = [for n in values(local.tunnel_networks) : n if anytrue([for b in local.vpc_blocks :
    cidrhost("${split("/", n)[0]}/${min(split("/", n)[1], split("/", b)[1])}", 0) ==
    cidrhost("${split("/", b)[0]}/${min(split("/", n)[1], split("/", b)[1])}", 0)
  ])]

  # Who has an address in a tunnel network is not reached through the VPC. A given
  # subnet may have the tunnel network in it, which is reserved there; the new ones
  # leave room beside them.
  blocks = var.network != null ? keys(local.subnets_by_block) : concat(aws_subnet.gateway[*].cidr_block, aws_subnet.step[*].cidr_block)
  tunnels_on_subnets = [for pair in setproduct(values(local.tunnel_networks), local.blocks) : pair[0] if
    cidrhost("${split("/", pair[0])[0]}/${min([for n in pair : split("/", n)[1]]...)}", 0) ==
    cidrhost("${split("/", pair[1])[0]}/${min([for n in pair : split("/", n)[1]]...)}", 0) &&
    (var.network == null || tonumber(split("/", pair[0])[1]) <= tonumber(split("/", pair[1])[1]))
  ]

  # A subnet that a tunnel network lies wholly in gives its addresses away. Subnets
  # of a VPC do not overlap: one block is one subnet, however often it was named.
  reservations = var.reserve ? merge([for slot, n in local.tunnel_networks : {
    for b, keys in local.subnets_by_block : slot => { subnet = local.given_subnets[keys[0]].id, network = n }
    if tonumber(split("/", b)[1]) <= tonumber(split("/", n)[1]) &&
    cidrhost("${split("/", n)[0]}/${split("/", b)[1]}", 0) == cidrhost(b, 0)
  }]...) : {}

  routed_tables = var.nat != "routed" ? {} : var.network != null ? var.network.route_tables : merge(
    { gateway = aws_route_table.gateway[0].id },
    var.step == null ? {} : { step = aws_route_table.step[0].id }
  )
}

resource "aws_vpc" "new" {
  count                = var.network == null ? 1 : 0
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(local.tags, { Name = var.name })
}

# A group that nothing uses and that lets nobody in, in place of AWS's default.
resource "aws_default_security_group" "new" {
  count  = var.network == null ? 1 : 0
  vpc_id = aws_vpc.new[0].id
  tags   = merge(local.tags, { Name = "${var.name}-unused" })
}

resource "aws_internet_gateway" "new" {
  count  = var.network == null ? 1 : 0
  vpc_id = aws_vpc.new[0].id
  tags   = merge(local.tags, { Name = var.name })
}

resource "aws_subnet" "gateway" {
  count             = length(local.zones)
  vpc_id            = aws_vpc.new[0].id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, local.bits, 1 + 2 * count.index)
  tags              = merge(local.tags, { Name = "${var.name}-gateway-${count.index}" })

  # A region may get a zone, or lose one for a while, which is no reason to end machines.
  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_route_table" "gateway" {
  count  = var.network == null ? 1 : 0
  vpc_id = aws_vpc.new[0].id
  tags   = merge(local.tags, { Name = "${var.name}-gateway" })
}

resource "aws_route" "internet" {
  count                  = var.network == null ? 1 : 0
  route_table_id         = aws_route_table.gateway[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.new[0].id
}

resource "aws_route_table_association" "gateway" {
  count          = length(local.zones)
  subnet_id      = aws_subnet.gateway[count.index].id
  route_table_id = aws_route_table.gateway[0].id
}

resource "aws_subnet" "step" {
  count             = var.network == null && var.step != null ? 1 : 0
  vpc_id            = aws_vpc.new[0].id
  availability_zone = local.zones[0]
  cidr_block        = cidrsubnet(var.vpc_cidr, local.bits, 2)
  tags              = merge(local.tags, { Name = "${var.name}-step" })

  # A region may get a zone, or lose one for a while, which is no reason to end machines.
  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_route_table" "step" {
  count  = var.network == null && var.step != null ? 1 : 0
  vpc_id = aws_vpc.new[0].id
  tags   = merge(local.tags, { Name = "${var.name}-step" })
}

resource "aws_route_table_association" "step" {
  count          = var.network == null && var.step != null ? 1 : 0
  subnet_id      = aws_subnet.step[0].id
  route_table_id = aws_route_table.step[0].id
}

# The bastion's way out.

resource "aws_route" "step_gateway" {
  count                  = local.egress == "gateway" && var.step != null ? 1 : 0
  route_table_id         = var.network == null ? aws_route_table.step[0].id : var.network.step_route_table
  destination_cidr_block = "0.0.0.0/0"
  network_interface_id   = aws_instance.gateway[var.active].primary_network_interface_id
}

resource "aws_eip" "nat" {
  count  = local.egress == "nat-gateway" && var.step != null ? 1 : 0
  domain = "vpc"
  tags   = merge(local.tags, { Name = "${var.name}-nat" })
}

resource "aws_nat_gateway" "new" {
  count         = local.egress == "nat-gateway" && var.step != null ? 1 : 0
  allocation_id = aws_eip.nat[0].id
  subnet_id     = aws_subnet.gateway[0].id
  tags          = merge(local.tags, { Name = var.name })
  # What is reserved for people must not be chosen for it.
  depends_on = [aws_route.internet, aws_ec2_subnet_cidr_reservation.tunnel, aws_ec2_subnet_cidr_reservation.addresses]
}

resource "aws_route" "step_nat" {
  count                  = local.egress == "nat-gateway" && var.step != null ? 1 : 0
  route_table_id         = aws_route_table.step[0].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.new[0].id
}

# The tunnel network.

resource "aws_route" "tunnel" {
  for_each               = local.routed_tables
  route_table_id         = each.value
  destination_cidr_block = var.tunnel_network
  network_interface_id   = aws_instance.gateway[var.active].primary_network_interface_id
  lifecycle {
    precondition {
      condition     = length(local.tunnels_in_vpc) == 0
      error_message = "tunnel_network: ${var.tunnel_network} lies in the VPC (${join(", ", local.vpc_blocks)}), which cannot route it to the gateway: nat = \"routed\" needs one outside, or choose \"masquerade\"."
    }
  }
}

resource "aws_ec2_subnet_cidr_reservation" "tunnel" {
  for_each         = local.reservations
  subnet_id        = each.value.subnet
  cidr_block       = each.value.network
  reservation_type = "explicit"
}

# People's own addresses: EC2 gives none of them to anybody else in the subnet.
resource "aws_ec2_subnet_cidr_reservation" "addresses" {
  for_each         = toset(var.reserve ? flatten([for key in keys(local.prefixes) : var.gateways[key].addresses]) : [])
  subnet_id        = local.gateway_subnets[0]
  cidr_block       = each.value
  reservation_type = "explicit"
}
