# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# Security groups. Rules are resources of their own, but for one group.

resource "aws_security_group" "gateway" {
  name        = "${var.name}-gateway"
  description = "vpnami ${var.name}: the tunnel"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-gateway" })

  lifecycle {
    precondition {
      condition     = length(local.tunnels_on_subnets) == 0
      error_message = "tunnel_network, slots: ${join(", ", local.tunnels_on_subnets)} has addresses of the subnets of gateways and bastion (${join(", ", local.blocks)}), which could not answer clients: want a network that nobody has an address in."
    }
  }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each          = toset(var.clients_from)
  security_group_id = aws_security_group.gateway.id
  description       = "clients of the tunnel"
  ip_protocol       = var.proto
  from_port         = var.port
  to_port           = var.port
  cidr_ipv4         = each.value
  tags              = local.tags
}

# What clients may reach, and the gateway's own way to AWS and to its updates.
resource "aws_vpc_security_group_egress_rule" "routes" {
  for_each          = toset(coalesce(var.routes, local.vpc_blocks))
  security_group_id = aws_security_group.gateway.id
  description       = "what clients reach through the tunnel"
  ip_protocol       = "-1"
  cidr_ipv4         = each.value
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "gateway_web" {
  for_each          = toset(["80", "443"])
  security_group_id = aws_security_group.gateway.id
  description       = "the AWS API and updates"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.tags
}

# This group alone carries the consent by which the first boot may take rules
# away. They are inline and ignored from then on: as a resource of its own, a rule
# that the first boot took away would come back with the next apply.
resource "aws_security_group" "bootstrap" {
  name        = "${var.name}-bootstrap"
  description = "vpnami ${var.name}: SSH until the first boot is over"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-bootstrap", "vpnami:consent" = "seal-ssh" })

  ingress = [for n in length(var.ssh_from) == 0 ? [] : [var.ssh_from] : {
    description      = "until the first boot is over"
    protocol         = "tcp"
    from_port        = 22
    to_port          = 22
    cidr_blocks      = n
    ipv6_cidr_blocks = []
    prefix_list_ids  = []
    security_groups  = []
    self             = false
  }]

  lifecycle {
    ignore_changes = [ingress]
  }
}

# The bastion.

resource "aws_security_group" "step" {
  count       = var.step == null ? 0 : 1
  name        = "${var.name}-step"
  description = "vpnami ${var.name}: the bastion"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-step" })
}

resource "aws_vpc_security_group_ingress_rule" "step_gateway" {
  count                        = var.step == null ? 0 : 1
  security_group_id            = aws_security_group.step[0].id
  ip_protocol                  = "tcp"
  from_port                    = 22
  to_port                      = 22
  referenced_security_group_id = aws_security_group.gateway.id
  tags                         = merge(local.tags, { Name = "SSH of the clients, with the gateway's address" })
}

resource "aws_vpc_security_group_ingress_rule" "step_tunnel" {
  count             = var.step != null && var.nat == "routed" ? 1 : 0
  security_group_id = aws_security_group.step[0].id
  description       = "SSH of the clients, with their own addresses"
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = var.tunnel_network
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "step_others" {
  for_each          = toset(var.step == null ? [] : var.step.ssh_from)
  security_group_id = aws_security_group.step[0].id
  description       = "SSH from elsewhere in the VPC"
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = each.value
  tags              = local.tags

  lifecycle {
    # The bastion's own packet filter admits its VPC, and the tunnel network if routed.
    precondition {
      condition = anytrue([for b in local.vpc_blocks : tonumber(split("/", b)[1]) <= tonumber(split("/", each.value)[1]) &&
        cidrhost("${split("/", each.value)[0]}/${split("/", b)[1]}", 0) == cidrhost(b, 0)
      ])
      error_message = "step: ssh_from: ${each.value} is not in the VPC (${join(", ", local.vpc_blocks)}), and the bastion's packet filter would drop it: who is elsewhere comes through the tunnel."
    }
  }
}

resource "aws_vpc_security_group_egress_rule" "step_vpc" {
  for_each          = toset(var.step == null ? [] : local.vpc_blocks)
  security_group_id = aws_security_group.step[0].id
  description       = "what is logged in to from here"
  ip_protocol       = "-1"
  cidr_ipv4         = each.value
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "step_web" {
  for_each          = toset(var.step == null || local.egress == "none" ? [] : ["80", "443"])
  security_group_id = aws_security_group.step[0].id
  description       = "updates"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "gateway_step" {
  for_each                     = toset(var.step != null && local.egress == "gateway" ? ["80", "443"] : [])
  security_group_id            = aws_security_group.gateway.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_security_group.step[0].id
  tags                         = merge(local.tags, { Name = "the bastion's way to its updates" })
}
