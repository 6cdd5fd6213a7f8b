# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# A machine whose address is chosen has none that is somebody else's: in the article's
# network, where one subnet has the machines, the tunnel network and people's addresses.

mock_provider "aws" {
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
  ami    = "ami-0123456789abcdef0"
  egress = "none"
  network = {
    vpc_id          = "vpc-1"
    vpc_blocks      = ["10.0.0.0/16"]
    gateway_subnets = [{ id = "subnet-1", block = "10.0.0.0/16" }]
    step_subnet     = { id = "subnet-1", block = "10.0.0.0/16" }
  }
}

run "the_articles" {
  command = plan
  variables {
    nat      = "per-client"
    gateways = { a = { private_address = "10.0.1.2", addresses = ["10.0.1.64/28"] }, b = { private_address = "10.0.1.3", addresses = ["10.0.1.80/28"] } }
    step     = { private_address = "10.0.2.2" }
  }
  assert {
    condition     = tolist(aws_network_interface.step[0].private_ips) == tolist(["10.0.2.2"]) && aws_launch_template.gateway["b"].network_interfaces[0].private_ip_address == "10.0.1.3"
    error_message = "want the machines at their addresses"
  }
}

run "gateway_and_bastion_in_the_tunnel" {
  command = plan
  variables {
    gateways = { a = { private_address = "10.0.255.7" } }
    step     = { private_address = "10.0.255.8" }
  }
  expect_failures = [aws_instance.gateway, aws_network_interface.step]
}

run "a_bastion_in_the_tunnel_of_a_slot" {
  command = plan
  variables {
    slots = { a = "10.0.254.0/24", b = "10.0.255.0/24" }
    step  = { private_address = "10.0.254.7" }
  }
  expect_failures = [aws_network_interface.step]
}

run "at_peoples_addresses_of_another_gateway" {
  command = plan
  variables {
    nat      = "per-client"
    gateways = { a = { addresses = ["10.0.1.64/28"] }, b = { private_address = "10.0.1.70", addresses = ["10.0.1.80/28"] } }
    step     = { private_address = "10.0.1.90" }
  }
  expect_failures = [aws_instance.gateway, aws_network_interface.step]
}

run "the_bastion_at_the_gateways_address" {
  command = plan
  variables {
    gateways = { a = { private_address = "10.0.1.2" } }
    step     = { private_address = "10.0.1.2" }
  }
  expect_failures = [aws_instance.gateway, aws_network_interface.step]
}

run "at_what_aws_keeps_and_outside_the_subnet" {
  command = plan
  variables {
    gateways = { a = { private_address = "10.0.0.2" } }
    step     = { private_address = "10.1.2.2" }
  }
  expect_failures = [aws_instance.gateway, aws_network_interface.step]
}

run "a_bastion_at_no_address" {
  command = plan
  variables {
    step = { private_address = "10.0.2" }
  }
  expect_failures = [var.step]
}
