# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The gateway that has the Elastic IP, and the one that is to take it over.

locals {
  # What the first boot reads. Nothing of it is secret.
  user_data = { for slot, network in local.tunnel_networks : slot => "#vpnami\n${yamlencode(merge(
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
  ))}" }

  forwards = var.step != null && local.egress == "gateway"
}

resource "aws_instance" "gateway" {
  for_each = local.grouped ? {} : var.gateways

  ami                    = coalesce(each.value.ami, var.ami)
  instance_type          = var.instance_type
  subnet_id              = local.gateway_subnets[0]
  private_ip             = each.value.private_address
  vpc_security_group_ids = [aws_security_group.gateway.id, aws_security_group.bootstrap.id]
  iam_instance_profile   = aws_iam_instance_profile.gateway.name
  key_name               = var.key_name
  # Its own way to AWS until it has the Elastic IP, and so that another can be
  # made ready beside the one that has it.
  associate_public_ip_address = true
  # It forwards what is not addressed to it.
  source_dest_check           = !(local.forwards || var.nat == "routed")
  user_data                   = local.user_data["one"]
  user_data_replace_on_change = true

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
