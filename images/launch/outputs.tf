# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

output "remote" {
  description = "Where clients connect to; for \"vpnami-pki issue --remote\". A name of your own that leads there outlives it."
  value       = local.remote
}

output "addresses" {
  description = "The Elastic IP; with slots none, since the load balancer's name is what leads to it."
  value       = aws_eip.gateway[*].public_ip
}

output "gateways" {
  description = "Instances by key, and which has the address; the machines of slots come and go: see the Auto Scaling groups."
  value = { for key, i in aws_instance.gateway : key => {
    id              = i.id
    private_address = i.private_ip
    addresses       = var.gateways[key].addresses
    ami             = i.ami
    active          = key == var.active
  } }
}

output "slots" {
  description = "Auto Scaling group and tunnel network by slot."
  value       = { for key, g in aws_autoscaling_group.slot : key => { group = g.name, network = var.slots[key] } }
}

output "step" {
  description = "The bastion, which answers through the tunnel."
  value       = one([for i in aws_instance.step : { id = i.id, private_address = i.private_ip }])
}

output "secret" {
  description = "For \"vpnami-pki publish --secret\"."
  value       = var.secret
}

output "publisher_policy_arn" {
  description = "Policy for whoever publishes."
  value       = aws_iam_policy.publisher.arn
}

output "role" {
  description = "Name of the gateways' role."
  value       = aws_iam_role.gateway.name
}

output "security_groups" {
  description = "Groups: gateway (clients), bootstrap (SSH until the first boot is over), step."
  value       = { gateway = aws_security_group.gateway.id, bootstrap = aws_security_group.bootstrap.id, step = one(aws_security_group.step[*].id) }
}

output "network" {
  description = "VPC and subnets."
  value       = { vpc_id = local.vpc_id, gateway_subnets = local.gateway_subnets, step_subnet = local.step_subnet, tunnel_networks = local.tunnel_networks }
}

output "log_group" {
  description = "What the gateways said of themselves."
  value       = aws_cloudwatch_log_group.status.name
}

output "next" {
  description = "What is to be done now."
  value       = <<-EOT
    1. At the desk, where the authority is:
         vpnami-pki issue client1 --folder office --remote ${local.remote}${local.spoken}
         vpnami-pki publish --folder office --secret ${var.secret} --region ${local.region}
       (policy for whoever publishes: ${aws_iam_policy.publisher.arn})
    2. The gateway takes it within a minute and says so:
         aws ec2 describe-instances --region ${local.region} --filters Name=tag:vpnami:launch,Values=${var.name} \
           --query 'Reservations[].Instances[].[InstanceId,Tags[?starts_with(Key,`vpnami:status`)].[Key,Value]]'
    3. From outside:
         vpnami-pki reach client1.ovpn
    4. Import client1.ovpn, connect${local.login}
  EOT
}

locals {
  # What profiles must say where it is not what they say by themselves.
  spoken = "${var.proto == "udp" ? "" : " --proto ${var.proto}"}${var.port == 1194 ? "" : " --port ${var.port}"}"
  # Canonical's images, of which the AMI is made, have this user.
  bastion = one(aws_instance.step[*].private_ip)
  login = (
    var.step == null ? "." :
    var.key_name == null ? ". Nobody logs in to the bastion, ${local.bastion}: key_name is not set." :
    ", and with the key ${var.key_name}: ssh ubuntu@${local.bastion}"
  )
  remote = local.grouped ? aws_lb.gateways[0].dns_name : aws_eip.gateway[0].public_ip
}
