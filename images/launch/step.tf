# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The bastion: no public address, no role. It needs nothing of AWS.

locals {
  step_user_data = "#vpnami\n${yamlencode(merge(
    { role = "step" },
    # It sees the clients' own addresses then, and admits them.
    var.nat == "routed" ? { network = var.tunnel_network } : {},
  ))}"
}

# An interface of its own is never given a public address, whatever the subnet does
# for others, and a new bastion has the old one's private address.
resource "aws_network_interface" "step" {
  count           = var.step == null ? 0 : 1
  subnet_id       = local.step_subnet
  private_ips     = var.step.private_address == null ? null : [var.step.private_address]
  security_groups = [aws_security_group.step[0].id]
  description     = "vpnami ${var.name}: the bastion"
  tags            = merge(local.tags, { Name = "${var.name}-step" })
  depends_on      = [aws_ec2_subnet_cidr_reservation.tunnel, aws_ec2_subnet_cidr_reservation.addresses]

  lifecycle {
    precondition {
      condition     = length(lookup(local.conflicts, "step: private_address", [])) == 0
      error_message = "step: private_address: ${coalesce(var.step.private_address, "none")} cannot be the bastion's: ${join("; ", lookup(local.conflicts, "step: private_address", []))}. Want another address of the subnet, or none for one that AWS chooses."
    }
  }
}

resource "aws_instance" "step" {
  count = var.step == null ? 0 : 1

  ami           = coalesce(var.step.ami, var.ami)
  instance_type = var.step_instance_type
  key_name      = var.key_name
  network_interface {
    device_index         = 0
    network_interface_id = aws_network_interface.step[0].id
  }
  user_data                   = local.step_user_data
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
    tags        = merge(local.tags, { Name = "${var.name}-step" })
  }

  tags = merge(local.tags, { Name = var.name == "vpn" ? "step" : "${var.name}-step" })

  depends_on = [aws_route_table_association.step]
}
