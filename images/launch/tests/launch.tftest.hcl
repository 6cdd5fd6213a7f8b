# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# What the module makes of its variables, without an account: terraform test.

mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "ap-northeast-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_availability_zones" {
    defaults = { names = ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"] }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_ec2_instance_type" {
    defaults = { maximum_ipv4_addresses_per_interface = 4, hypervisor = "nitro" }
  }
  mock_data "aws_ami" {
    defaults = { root_device_name = "/dev/sda1" }
  }
}

variables {
  ami = "ami-0123456789abcdef0"
}

run "one_gateway_in_a_new_vpc" {
  command = plan
  assert {
    condition     = length(aws_instance.gateway) == 1 && length(aws_eip.gateway) == 1 && length(aws_lb.gateways) == 0
    error_message = "want one gateway with an Elastic IP"
  }
  assert {
    condition     = length(aws_launch_template.gateway) == 0 && length(aws_instance.gateway["a"].launch_template) == 0
    error_message = "want no template where an interface has one address"
  }
  assert {
    condition     = aws_subnet.gateway[0].cidr_block == "10.0.1.0/24" && aws_subnet.step[0].cidr_block == "10.0.2.0/24"
    error_message = "want the article's networks"
  }
  assert {
    condition     = aws_instance.gateway["a"].source_dest_check == false && length(aws_route.step_gateway) == 1
    error_message = "want the bastion's way out through the gateway"
  }
  assert {
    condition     = local.user_data["one"] == "#vpnami\n${yamlencode({ role = "vpn", secret = "vpn/office", network = "10.0.255.0/24", port = 1194, proto = "udp", nat = "masquerade", egress = ["10.0.2.0/24"] })}"
    error_message = "want the gateway to be told of the bastion's network, and of nothing more"
  }
  assert {
    condition     = aws_security_group.bootstrap.tags["vpnami:consent"] == "seal-ssh" && !contains(keys(aws_security_group.gateway.tags), "vpnami:consent")
    error_message = "want the consent on the bootstrap group alone"
  }
}

run "each_rule_writes_to_the_log" {
  command = plan
  assert {
    condition = toset(one(data.aws_iam_policy_document.status_log.statement[1].condition).values) == toset(
    [for r in concat([aws_cloudwatch_event_rule.status], values(aws_cloudwatch_event_rule.wrong)) : "arn:aws:events:ap-northeast-1:123456789012:rule/${r.name}"])
    error_message = "want each rule that has the log for its target, and no other, to write there"
  }
}

run "the_account_lets_events_write_logs" {
  command = plan
  variables {
    log_policy = false
  }
  assert {
    condition     = length(aws_cloudwatch_log_resource_policy.status) == 0 && aws_cloudwatch_log_group.status.name == "/aws/events/vpnami/vpn"
    error_message = "want none of the region's ten policies taken"
  }
}

run "no_bastion" {
  command = plan
  variables {
    step = null
  }
  assert {
    condition     = length(aws_instance.step) == 0 && length(aws_security_group.step) == 0 && aws_instance.gateway["a"].source_dest_check
    error_message = "want nothing of a bastion, and the source check on"
  }
}

run "routed" {
  command = plan
  variables {
    nat            = "routed"
    egress         = "none"
    tunnel_network = "10.8.0.0/24"
  }
  assert {
    condition     = length(aws_route.tunnel) == 2 && aws_route.tunnel["step"].destination_cidr_block == "10.8.0.0/24"
    error_message = "want the route in both tables"
  }
  assert {
    condition     = aws_instance.gateway["a"].source_dest_check == false
    error_message = "want the source check off"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.step_tunnel[0].cidr_ipv4 == "10.8.0.0/24" && local.step_user_data == "#vpnami\n${yamlencode({ role = "step", network = "10.8.0.0/24" })}"
    error_message = "want step, its group and its packet filter, to admit the tunnel network"
  }
}

run "routed_inside_the_vpc" {
  command = plan
  variables {
    nat = "routed"
  }
  expect_failures = [aws_route.tunnel]
}

run "slots" {
  command = plan
  variables {
    slots = { a = "10.0.254.0/24", b = "10.0.255.0/24" }
  }
  assert {
    condition     = length(aws_autoscaling_group.slot) == 2 && alltrue([for g in aws_autoscaling_group.slot : g.max_size == 1]) && length(aws_eip.gateway) == 0
    error_message = "want a group of one machine for each slot"
  }
  assert {
    condition     = alltrue([for g in aws_autoscaling_group.slot : g.wait_for_capacity_timeout == "10m" && g.min_elb_capacity == null && g.wait_for_elb_capacity == null])
    error_message = "want to be told what keeps Auto Scaling from launching, and not to wait for the secret"
  }
  assert {
    condition     = alltrue([for key, g in aws_autoscaling_group.slot : aws_cloudwatch_metric_alarm.slot[key].dimensions.AutoScalingGroupName == g.name && contains(g.enabled_metrics, aws_cloudwatch_metric_alarm.slot[key].metric_name)])
    error_message = "want an alarm for a slot without a machine, of what its group is told to count"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.slots[0].metric_name == "UnHealthyHostCount" && aws_cloudwatch_metric_alarm.slots[0].statistic == "Maximum" && aws_cloudwatch_metric_alarm.slots[0].comparison_operator == "GreaterThanThreshold" && aws_cloudwatch_metric_alarm.slots[0].threshold == 0
    error_message = "want an alarm for a daemon that does not answer, whatever zone counts it"
  }
  assert {
    condition     = data.aws_ami.slot[0].include_deprecated
    error_message = "want a deprecated image to be found, which launches as any other"
  }
  assert {
    condition     = yamldecode(trimprefix(local.user_data["b"], "#vpnami\n")).network == "10.0.255.0/24" && yamldecode(trimprefix(local.user_data["b"], "#vpnami\n")).health == "tcp"
    error_message = "want each slot's own tunnel network, and the health port"
  }
  assert {
    condition     = aws_lb_target_group.gateways[0].health_check[0].protocol == "TCP" && aws_lb_target_group.gateways[0].health_check[0].port == "1195" && length(aws_subnet.gateway) == 2
    error_message = "want a TCP health check, in two zones"
  }
}

run "slots_over_tcp" {
  command = plan
  variables {
    proto = "tcp"
    slots = { a = "10.0.254.0/24", b = "10.0.255.0/24" }
  }
  assert {
    condition     = length(aws_vpc_security_group_egress_rule.balancer) == 1 && aws_lb_target_group.gateways[0].health_check[0].port == "1194"
    error_message = "want one rule for the daemon and its health check: EC2 takes none twice"
  }
}

run "an_existing_network" {
  command = plan
  variables {
    network = {
      vpc_id           = "vpc-1"
      vpc_blocks       = ["10.0.0.0/16"]
      gateway_subnets  = [{ id = "subnet-1", block = "10.0.0.0/16" }]
      step_subnet      = { id = "subnet-1", block = "10.0.0.0/16" }
      step_route_table = "rtb-1"
    }
  }
  assert {
    condition     = length(aws_vpc.new) == 0 && length(aws_subnet.gateway) == 0
    error_message = "want no network of its own"
  }
  assert {
    condition     = aws_ec2_subnet_cidr_reservation.tunnel["one"].cidr_block == "10.0.255.0/24"
    error_message = "want the tunnel network reserved in the subnet that it lies in"
  }
}

run "per_client" {
  command = plan
  variables {
    nat      = "per-client"
    egress   = "none"
    gateways = { a = { addresses = ["10.0.1.64/27", "10.0.1.16/28"] }, b = { addresses = ["10.0.1.96/27"] } }
  }
  assert {
    condition     = aws_launch_template.gateway["a"].network_interfaces[0].ipv4_prefixes == toset(["10.0.1.64/28", "10.0.1.80/28", "10.0.1.16/28"])
    error_message = "want the addresses assigned, in networks of the size that EC2 knows"
  }
  assert {
    condition     = aws_launch_template.gateway["a"].network_interfaces[0].associate_public_ip_address == "true"
    error_message = "want its own way to AWS"
  }
  assert {
    condition     = aws_instance.gateway["a"].source_dest_check && length(aws_route.tunnel) == 0
    error_message = "want the source check on, and no route"
  }
  assert {
    condition     = yamldecode(trimprefix(aws_instance.gateway["a"].user_data, "#vpnami\n")).nat == "per-client" && yamldecode(trimprefix(aws_instance.gateway["a"].user_data, "#vpnami\n")).addresses == ["10.0.1.64/27", "10.0.1.16/28"]
    error_message = "want the gateway to be told of them, in their order"
  }
  assert {
    condition     = yamldecode(trimprefix(aws_instance.gateway["b"].user_data, "#vpnami\n")).addresses == ["10.0.1.96/27"]
    error_message = "want each machine to have its own"
  }
  assert {
    condition     = length(aws_ec2_subnet_cidr_reservation.addresses) == 3 && aws_ec2_subnet_cidr_reservation.addresses["10.0.1.64/27"].reservation_type == "explicit"
    error_message = "want nobody else to be given them"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.step_gateway) == 1 && length(aws_vpc_security_group_ingress_rule.step_tunnel) == 0
    error_message = "want the bastion to admit the gateway's group, whose addresses they are"
  }
}

run "per_client_without_addresses" {
  command = plan
  variables {
    nat = "per-client"
  }
  expect_failures = [var.gateways]
}

run "addresses_without_per_client" {
  command = plan
  variables {
    gateways = { a = { addresses = ["10.0.1.64/28"] } }
  }
  expect_failures = [var.gateways]
}

run "per_client_with_one_address_twice" {
  command = plan
  variables {
    nat      = "per-client"
    gateways = { a = { addresses = ["10.0.1.64/27"] }, b = { addresses = ["10.0.1.80/28"] } }
  }
  expect_failures = [var.gateways]
}

run "per_client_smaller_than_a_prefix" {
  command = plan
  variables {
    nat      = "per-client"
    gateways = { a = { addresses = ["10.0.1.64/29"] } }
  }
  expect_failures = [var.gateways]
}

run "per_client_outside_the_subnet" {
  command = plan
  variables {
    nat      = "per-client"
    gateways = { a = { addresses = ["10.0.2.64/28"] } }
  }
  expect_failures = [aws_launch_template.gateway]
}

run "per_client_what_aws_keeps" {
  command = plan
  variables {
    nat      = "per-client"
    gateways = { a = { addresses = ["10.0.1.240/28"] } }
  }
  expect_failures = [aws_launch_template.gateway]
}

run "per_client_of_the_machine_itself" {
  command = plan
  variables {
    nat      = "per-client"
    gateways = { a = { private_address = "10.0.1.70", addresses = ["10.0.1.64/28"] } }
  }
  expect_failures = [aws_instance.gateway]
}

run "per_client_of_the_tunnel" {
  command = plan
  variables {
    nat = "per-client"
    network = {
      vpc_id           = "vpc-1"
      vpc_blocks       = ["10.0.0.0/16"]
      gateway_subnets  = [{ id = "subnet-1", block = "10.0.0.0/16" }]
      step_subnet      = { id = "subnet-1", block = "10.0.0.0/16" }
      step_route_table = "rtb-1"
    }
    gateways = { a = { addresses = ["10.0.255.0/28"] } }
  }
  expect_failures = [aws_launch_template.gateway]
}

run "per_client_for_more_than_people" {
  command = plan
  variables {
    nat            = "per-client"
    tunnel_network = "10.0.255.0/27"
    gateways       = { a = { addresses = ["10.0.1.64/27"] } }
  }
  expect_failures = [aws_launch_template.gateway]
}

run "per_client_for_more_than_fit_the_type" {
  command = plan
  variables {
    nat      = "per-client"
    gateways = { a = { addresses = ["10.0.1.64/26"] } }
  }
  expect_failures = [aws_launch_template.gateway]
}

run "per_client_with_slots" {
  command = plan
  variables {
    nat   = "per-client"
    slots = { a = "10.0.254.0/24", b = "10.0.255.0/24" }
  }
  expect_failures = [var.nat]
}

run "egress_through_one_of_many" {
  command = plan
  variables {
    slots  = { a = "10.0.254.0/24", b = "10.0.255.0/24" }
    egress = "gateway"
  }
  expect_failures = [var.egress]
}

run "no_route_table_for_the_way_out" {
  command = plan
  variables {
    network = {
      vpc_id          = "vpc-1"
      vpc_blocks      = ["10.0.0.0/16"]
      gateway_subnets = [{ id = "subnet-1", block = "10.0.1.0/24" }]
      step_subnet     = { id = "subnet-2", block = "10.0.2.0/24" }
    }
  }
  expect_failures = [var.network]
}

run "active_is_no_gateway" {
  command = plan
  variables {
    active = "b"
  }
  expect_failures = [var.active]
}

run "the_tunnel_is_not_for_the_internet" {
  command = plan
  variables {
    routes = ["0.0.0.0/0"]
  }
  expect_failures = [var.routes]
}

run "a_bastion_for_the_internet" {
  command = plan
  variables {
    step = { ssh_from = ["0.0.0.0/0"] }
  }
  expect_failures = [var.step]
}

run "slots_that_overlap" {
  command = plan
  variables {
    slots = { a = "10.0.254.0/23", b = "10.0.255.0/24" }
  }
  expect_failures = [var.slots]
}

run "a_tunnel_of_ipv6" {
  command = plan
  variables {
    tunnel_network = "fd00::/24"
  }
  expect_failures = [var.tunnel_network]
}

run "a_slot_of_ipv6" {
  command = plan
  variables {
    slots = { a = "fd00::/24" }
  }
  expect_failures = [var.slots]
}

run "a_name_server_of_ipv6" {
  command = plan
  variables {
    dns = ["::1"]
  }
  expect_failures = [var.dns]
}

run "the_tunnel_is_not_for_the_metadata_service" {
  command = plan
  variables {
    routes = ["169.254.169.254/32"]
  }
  expect_failures = [var.routes]
}

run "a_route_that_has_the_metadata_service_in_it" {
  command = plan
  variables {
    routes = ["169.0.0.0/8"]
  }
  expect_failures = [var.routes]
}

run "as_many_networks_as_a_group_has_rules_for" {
  command = plan
  variables {
    routes         = [for i in range(58) : "10.1.${i}.0/24"]
    clients_from   = [for i in range(58) : "198.51.100.${i}/32"]
    step           = { ssh_from = [for i in range(58) : "10.0.${i}.0/24"] }
    nat            = "routed"
    tunnel_network = "10.8.0.0/24"
  }
  assert {
    condition     = length(aws_vpc_security_group_egress_rule.routes) + length(aws_vpc_security_group_egress_rule.gateway_web) <= 60
    error_message = "want no more rules for the way out of the gateway than a group has"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.clients) + length(aws_vpc_security_group_ingress_rule.gateway_step) + length(aws_vpc_security_group_ingress_rule.health) <= 60
    error_message = "want no more rules for the way into the gateway than a group has"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.step_others) + length(aws_vpc_security_group_ingress_rule.step_gateway) + length(aws_vpc_security_group_ingress_rule.step_tunnel) <= 60
    error_message = "want no more rules for the way into the bastion than a group has"
  }
}

run "more_routes_than_a_group_has_rules_for" {
  command = plan
  variables {
    routes = [for i in range(59) : "10.1.${i}.0/24"]
  }
  expect_failures = [var.routes]
}

run "more_networks_than_a_group_has_rules_for" {
  command = plan
  variables {
    clients_from = [for i in range(59) : "198.51.100.${i}/32"]
    ssh_from     = [for i in range(61) : "198.51.100.${i}/32"]
    step         = { ssh_from = [for i in range(59) : "10.0.${i}.0/24"] }
  }
  expect_failures = [var.clients_from, var.ssh_from, var.step]
}

run "a_route_twice" {
  command = plan
  variables {
    routes = ["10.0.0.0/16", "10.0.0.0/16"]
  }
  expect_failures = [var.routes]
}

run "the_route_is_the_tunnel" {
  command = plan
  variables {
    routes = ["10.0.255.0/24"]
  }
  expect_failures = [var.routes]
}

run "amazons_own_resolver_is_link_local" {
  command = plan
  variables {
    dns = ["169.254.169.253"]
  }
  expect_failures = [var.dns]
}

run "a_tunnel_of_the_internets_addresses" {
  command = plan
  variables {
    tunnel_network = "203.0.113.0/24"
  }
  expect_failures = [var.tunnel_network]
}

run "the_tunnel_has_the_vpcs_resolver" {
  command = plan
  variables {
    tunnel_network = "10.0.0.0/24"
  }
  expect_failures = [var.tunnel_network]
}

run "an_alias_is_no_key_in_a_policy" {
  command = plan
  variables {
    secret_kms_key_arn = "arn:aws:kms:ap-northeast-1:123456789012:alias/vpn"
  }
  expect_failures = [var.secret_kms_key_arn]
}

run "an_alias_is_no_key_of_a_volume" {
  command = plan
  variables {
    volume_kms_key_arn = "arn:aws:kms:ap-northeast-1:123456789012:alias/vpn"
  }
  expect_failures = [var.volume_kms_key_arn]
}

run "a_key_of_a_volume" {
  command = plan
  variables {
    volume_kms_key_arn = "arn:aws:kms:ap-northeast-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }
  assert {
    condition     = aws_instance.gateway["a"].root_block_device[0].kms_key_id == var.volume_kms_key_arn && aws_instance.step[0].root_block_device[0].kms_key_id == var.volume_kms_key_arn
    error_message = "want the volumes encrypted with it"
  }
}

run "a_tag_that_the_metadata_cannot_have" {
  command = plan
  variables {
    tags = { "Cost Center" = "x" }
  }
  expect_failures = [var.tags]
}

run "a_name_that_no_load_balancer_may_have" {
  command = plan
  variables {
    name = "internal-vpn"
  }
  expect_failures = [var.name]
}

run "a_name_that_no_group_may_have" {
  command = plan
  variables {
    name = "sg"
  }
  expect_failures = [var.name]
}

run "a_tag_that_is_awss_own" {
  command = plan
  variables {
    tags = { "aws:cost" = "x" }
  }
  expect_failures = [var.tags]
}

run "a_tag_of_the_providers_that_the_metadata_cannot_have" {
  command = plan
  override_data {
    target = data.aws_default_tags.here
    values = { tags = { "Cost Center" = "x" } }
  }
  expect_failures = [data.aws_default_tags.here]
}

run "a_tag_of_the_providers_that_is_consent" {
  command = plan
  override_data {
    target = data.aws_default_tags.here
    values = { tags = { "vpnami:consent" = "seal-ssh" } }
  }
  expect_failures = [data.aws_default_tags.here]
}

run "tags_of_the_providers" {
  command = plan
  override_data {
    target = data.aws_default_tags.here
    values = { tags = { CostCenter = "x", "team:owner" = "y" } }
  }
}

run "the_tunnel_is_the_gateways_subnet" {
  command = plan
  variables {
    tunnel_network = "10.0.1.0/24"
  }
  expect_failures = [aws_security_group.gateway]
}

run "the_tunnel_lies_in_the_bastions_subnet" {
  command = plan
  variables {
    tunnel_network = "10.0.2.128/25"
  }
  expect_failures = [aws_security_group.gateway]
}

run "the_tunnel_is_the_vpc" {
  command = plan
  variables {
    tunnel_network = "10.0.0.0/16"
  }
  expect_failures = [aws_security_group.gateway]
}

run "the_next_step_over_tcp" {
  command = plan
  variables {
    proto = "tcp"
    port  = 8443
  }
  assert {
    condition     = local.spoken == " --proto tcp --port 8443"
    error_message = "want profiles for the protocol that the gateway speaks"
  }
}

run "a_bastion_for_the_vpc" {
  command = plan
  variables {
    step = { ssh_from = ["10.0.8.0/24"] }
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.step_others) == 1
    error_message = "want the network admitted"
  }
}

run "a_bastion_for_who_its_packet_filter_drops" {
  command = plan
  variables {
    step = { ssh_from = ["192.168.0.0/16"] }
  }
  expect_failures = [aws_vpc_security_group_ingress_rule.step_others]
}
