# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The gateway that has the Elastic IP, and the one that is to take it over.

locals {
  # What the first boot reads. Nothing of it is secret.
  documents = { for slot, network in local.tunnel_networks : slot => merge(
    {
      role    = "vpn"
      secret  = var.secret
      network = network
      port    = var.port
      proto   = var.proto
      nat     = var.nat
    },
    var.routes == null ? {} : { routes = var.routes },
    length(var.dns) == 0 ? {} : { dns = var.dns },
    local.grouped && var.proto == "udp" ? { health = "tcp" } : {},
    local.forwards ? { egress = [local.step_block] } : {},
  ) }
  user_data = { for slot, document in local.documents : slot => "#vpnami\n${yamlencode(document)}" }

  forwards = var.step != null && local.egress == "gateway"

  per_client = var.nat == "per-client"
  # EC2 assigns more than one address as networks of /28, and each to one interface at
  # a time: two gateways side by side have different ones.
  prefixes = { for key, g in local.per_client ? var.gateways : {} : key => flatten([
    for n in g.addresses : [for i in range(pow(2, 28 - tonumber(split("/", n)[1]))) : cidrsubnet(n, 28 - tonumber(split("/", n)[1]), i)]
  ]) }
}

data "aws_ec2_instance_type" "gateway" {
  count         = local.per_client ? 1 : 0
  instance_type = var.instance_type
}

# An instance by itself is launched with one address: where it is to have more, a
# template says what its interface is.
resource "aws_launch_template" "gateway" {
  for_each    = local.prefixes
  name        = "${var.name}-gateway-${each.key}"
  description = "vpnami ${var.name}: the interface of gateway ${each.key}, with people's addresses"

  network_interfaces {
    device_index                = 0
    subnet_id                   = local.gateway_subnets[0]
    private_ip_address          = var.gateways[each.key].private_address
    associate_public_ip_address = true
    delete_on_termination       = true
    security_groups             = [aws_security_group.gateway.id, aws_security_group.bootstrap.id]
    ipv4_prefixes               = each.value
  }

  tags = merge(local.tags, { Name = "${var.name}-gateway-${each.key}" })

  lifecycle {
    precondition {
      condition = alltrue([for n in var.gateways[each.key].addresses :
        tonumber(split("/", local.gateway_block)[1]) <= tonumber(split("/", n)[1]) &&
        cidrhost("${split("/", n)[0]}/${split("/", local.gateway_block)[1]}", 0) == cidrhost(local.gateway_block, 0) &&
        # AWS keeps the first four and the last of a subnet.
        cidrhost(n, 0) != cidrhost(local.gateway_block, 0) && cidrhost(n, -1) != cidrhost(local.gateway_block, -1)
      ])
      error_message = "gateways: addresses: ${join(", ", var.gateways[each.key].addresses)}: want parts of the gateway's subnet ${local.gateway_block}, without its first and its last 16 addresses, some of which AWS keeps."
    }
    precondition {
      condition = alltrue([for n in var.gateways[each.key].addresses :
        cidrhost("${split("/", n)[0]}/${min(split("/", n)[1], split("/", var.tunnel_network)[1])}", 0) !=
        cidrhost("${split("/", var.tunnel_network)[0]}/${min(split("/", n)[1], split("/", var.tunnel_network)[1])}", 0)
      ])
      error_message = "gateways: addresses: ${join(", ", var.gateways[each.key].addresses)} overlap the tunnel network ${var.tunnel_network}: want other addresses of the subnet."
    }
    precondition {
      # An interface has its own address, and in the place of each other one a prefix.
      condition     = length(each.value) < data.aws_ec2_instance_type.gateway[0].maximum_ipv4_addresses_per_interface && data.aws_ec2_instance_type.gateway[0].hypervisor != "xen"
      error_message = "gateways: addresses: ${length(each.value)} networks of /28 do not fit an interface of ${var.instance_type}, which takes ${data.aws_ec2_instance_type.gateway[0].hypervisor == "xen" ? "none (only Nitro types do)" : data.aws_ec2_instance_type.gateway[0].maximum_ipv4_addresses_per_interface - 1}: want fewer, or another instance_type."
    }
    precondition {
      condition     = length(each.value) <= max(1, pow(2, 31 - tonumber(split("/", var.tunnel_network)[1])) / 16)
      error_message = "gateways: addresses: ${length(each.value) * 16} are more than people can own in ${var.tunnel_network}, its lower half: want fewer, or a larger tunnel_network."
    }
  }
}

resource "aws_instance" "gateway" {
  for_each = local.grouped ? {} : var.gateways

  ami                    = coalesce(each.value.ami, var.ami)
  instance_type          = var.instance_type
  subnet_id              = local.per_client ? null : local.gateway_subnets[0]
  private_ip             = local.per_client ? null : each.value.private_address
  vpc_security_group_ids = local.per_client ? null : [aws_security_group.gateway.id, aws_security_group.bootstrap.id]
  iam_instance_profile   = aws_iam_instance_profile.gateway.name
  key_name               = var.key_name
  # Its own way to AWS until it has the Elastic IP, and so that another can be
  # made ready beside the one that has it.
  associate_public_ip_address = local.per_client ? null : true
  # It forwards what is not addressed to it. People's own addresses are its interface's.
  source_dest_check           = !(local.forwards || var.nat == "routed")
  user_data                   = "#vpnami\n${yamlencode(merge(local.documents["one"], local.per_client ? { addresses = each.value.addresses } : {}))}"
  user_data_replace_on_change = true

  dynamic "launch_template" {
    for_each = local.per_client ? [aws_launch_template.gateway[each.key]] : []
    content {
      id      = launch_template.value.id
      version = launch_template.value.latest_version
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.root_volume_size
    encrypted   = true
    kms_key_id  = var.volume_kms_key_arn
    tags        = merge(local.tags, { Name = "${var.name}-gateway-${each.key}" })
  }

  # Key "a" alone has the plain name, so that a console shows one "vpn".
  tags = merge(local.tags, { Name = each.key == "a" ? var.name : "${var.name}-${each.key}" })

  lifecycle {
    precondition {
      condition     = length(lookup(local.conflicts, "gateways: ${each.key}: private_address", [])) == 0
      error_message = "gateways: ${each.key}: private_address: ${coalesce(each.value.private_address, "none")} cannot be the machine's: ${join("; ", lookup(local.conflicts, "gateways: ${each.key}: private_address", []))}. Want another address of the subnet, or none for one that AWS chooses."
    }
    ignore_changes = [
      # Without the Elastic IP it may have another public address, or none.
      associate_public_ip_address,
      # What the instance says of itself.
      tags["vpnami:status"], tags["vpnami:status-detail"], tags["vpnami:status-certificate"], tags["vpnami:status-sync"],
      tags_all["vpnami:status"], tags_all["vpnami:status-detail"], tags_all["vpnami:status-certificate"], tags_all["vpnami:status-sync"],
    ]
  }

  # It reads the secret and speaks to EC2 as soon as it boots.
  depends_on = [
    aws_iam_role_policy.gateway,
    aws_route.internet,
    aws_route_table_association.gateway,
    aws_vpc_security_group_ingress_rule.clients,
    aws_vpc_security_group_egress_rule.gateway_web,
    aws_ec2_subnet_cidr_reservation.tunnel,
    aws_ec2_subnet_cidr_reservation.addresses,
    aws_secretsmanager_secret.server,
    aws_secretsmanager_secret.access,
  ]
}

resource "aws_eip" "gateway" {
  count  = local.grouped ? 0 : 1
  domain = "vpc"
  # Moved in place when "active" changes.
  instance   = aws_instance.gateway[var.active].id
  tags       = merge(local.tags, { Name = var.name })
  depends_on = [aws_internet_gateway.new]
}
