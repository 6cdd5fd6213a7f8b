# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# Several gateways behind a load balancer: for each slot an Auto Scaling group of
# one machine, which is replaced when it or its zone fails.

resource "aws_security_group" "balancer" {
  count       = local.grouped ? 1 : 0
  name        = "${var.name}-balancer"
  description = "vpnami ${var.name}: the load balancer"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = "${var.name}-balancer" })
}

resource "aws_vpc_security_group_ingress_rule" "balancer_clients" {
  for_each          = toset(local.grouped ? var.clients_from : [])
  security_group_id = aws_security_group.balancer[0].id
  description       = "clients of the tunnel"
  ip_protocol       = var.proto
  from_port         = var.port
  to_port           = var.port
  cidr_ipv4         = each.value
  tags              = local.tags
}

locals {
  # A daemon on TCP answers the health check itself; beside one on UDP the image
  # answers at 1195 while the daemon runs (vpnami-health.socket).
  health_port = var.proto == "tcp" ? var.port : 1195
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  # A daemon on TCP answers at one port for both, and EC2 takes no rule twice.
  for_each = local.grouped ? merge(
    { daemon = { proto = var.proto, port = var.port } },
    var.proto == "tcp" ? {} : { health = { proto = "tcp", port = local.health_port } },
  ) : {}
  security_group_id            = aws_security_group.balancer[0].id
  ip_protocol                  = each.value.proto
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = aws_security_group.gateway.id
  tags                         = merge(local.tags, { Name = each.key })
}

resource "aws_vpc_security_group_ingress_rule" "health" {
  count                        = local.grouped ? 1 : 0
  security_group_id            = aws_security_group.gateway.id
  ip_protocol                  = "tcp"
  from_port                    = local.health_port
  to_port                      = local.health_port
  referenced_security_group_id = aws_security_group.balancer[0].id
  tags                         = merge(local.tags, { Name = "the load balancer's health check" })
}

resource "aws_lb" "gateways" {
  count              = local.grouped ? 1 : 0
  name               = var.name
  load_balancer_type = "network"
  internal           = false
  security_groups    = [aws_security_group.balancer[0].id]
  # A slot's machine may be in any of the zones.
  enable_cross_zone_load_balancing = true

  subnets = local.gateway_subnets

  tags       = merge(local.tags, { Name = var.name })
  depends_on = [aws_route.internet]
}

# Neither port nor protocol of one can be changed, and one that a listener has cannot
# be removed: another of another name takes its place first.
resource "aws_lb_target_group" "gateways" {
  count       = local.grouped ? 1 : 0
  name        = "${var.name}-${substr(sha1("${var.proto} ${var.port}"), 0, 6)}"
  vpc_id      = local.vpc_id
  target_type = "instance"
  protocol    = upper(var.proto)
  port        = var.port
  # The log names who came from where.
  preserve_client_ip = true
  # The clients of a machine that goes are to ask anew at once.
  deregistration_delay   = 30
  connection_termination = true

  health_check {
    protocol            = "TCP"
    port                = local.health_port
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  tags = merge(local.tags, { Name = var.name })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "gateways" {
  count             = local.grouped ? 1 : 0
  load_balancer_arn = aws_lb.gateways[0].arn
  protocol          = upper(var.proto)
  port              = var.port
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateways[0].arn
  }
  tags = local.tags
}

resource "aws_launch_template" "slot" {
  for_each               = var.slots
  name                   = "${var.name}-${each.key}"
  description            = "vpnami ${var.name}: slot ${each.key}, ${each.value}"
  image_id               = var.ami
  instance_type          = var.instance_type
  key_name               = var.key_name
  user_data              = base64encode(local.user_data[each.key])
  update_default_version = true

  iam_instance_profile {
    name = aws_iam_instance_profile.gateway.name
  }

  network_interfaces {
    associate_public_ip_address = true
    delete_on_termination       = true
    security_groups             = [aws_security_group.gateway.id, aws_security_group.bootstrap.id]
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  block_device_mappings {
    device_name = data.aws_ami.slot[0].root_device_name
    ebs {
      volume_type           = "gp3"
      volume_size           = var.root_volume_size
      encrypted             = true
      kms_key_id            = var.volume_kms_key_arn
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])
    content {
      resource_type = tag_specifications.value
      tags          = merge(local.tags, { Name = "${var.name}-${each.key}" })
    }
  }

  tags = merge(local.tags, { Name = "${var.name}-${each.key}" })
}

# The root device's name is the image's.
data "aws_ami" "slot" {
  count = local.grouped ? 1 : 0
  filter {
    name   = "image-id"
    values = [var.ami]
  }
  # By a filter AWS tells of none that its owner has deprecated, though it launches it.
  include_deprecated = true
}

resource "aws_autoscaling_group" "slot" {
  for_each = var.slots
  name     = "${var.name}-${each.key}"
  min_size = 1
  max_size = 1

  vpc_zone_identifier = local.gateway_subnets
  target_group_arns   = [aws_lb_target_group.gateways[0].arn]
  health_check_type   = "ELB"
  # A first boot takes seconds; the rest is for a secret that comes late.
  health_check_grace_period = 300
  # Until the machine runs, or Auto Scaling has said why it could not launch it: quota,
  # capacity, a right on a key. Not until it serves, which waits for the secret.
  wait_for_capacity_timeout = "10m"

  # For the alarm; it costs nothing.
  enabled_metrics = ["GroupInServiceInstances"]

  launch_template {
    id      = aws_launch_template.slot[each.key].id
    version = aws_launch_template.slot[each.key].latest_version
  }

  # A new image: the next machine of the slot is healthy before the old one goes.
  # For that minute both translate the same tunnel network, each for its own clients.
  instance_refresh {
    strategy = "Rolling"
    preferences {
      min_healthy_percentage = 100
      max_healthy_percentage = 200
      instance_warmup        = 60
      auto_rollback          = true
    }
  }

  dynamic "tag" {
    for_each = local.tags
    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false # the launch template's are on the machine before it boots
    }
  }

  depends_on = [
    aws_iam_role_policy.gateway,
    aws_lb_listener.gateways,
    aws_route.internet,
    aws_route_table_association.gateway,
    aws_vpc_security_group_ingress_rule.clients,
    aws_vpc_security_group_ingress_rule.health,
    aws_vpc_security_group_egress_rule.gateway_web,
    aws_secretsmanager_secret.server,
    aws_secretsmanager_secret.access,
  ]
}
