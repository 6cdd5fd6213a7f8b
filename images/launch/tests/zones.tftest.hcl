# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# A new VPC is in Availability Zones alone, and stays in those that it began in.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_instance" {
    defaults = { primary_network_interface_id = "eni-0123456789abcdef0" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:ap-northeast-1:123456789012:log-group:/aws/events/vpnami/vpn" }
  }
}

variables {
  ami = "ami-0123456789abcdef0"
}

run "launched" {
  override_data {
    target = data.aws_availability_zones.here
    values = { names = ["ap-northeast-1c", "ap-northeast-1d"] }
  }
  assert {
    condition     = [for f in data.aws_availability_zones.here[0].filter : f.values if f.name == "zone-type"] == [toset(["availability-zone"])]
    error_message = "want no Local and no Wavelength Zone"
  }
}

run "the_region_has_one_more" {
  command = plan
  override_data {
    target = data.aws_availability_zones.here
    values = { names = ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"] }
  }
  assert {
    condition     = aws_subnet.gateway[0].availability_zone == "ap-northeast-1c" && aws_subnet.step[0].availability_zone == "ap-northeast-1c"
    error_message = "want the subnets, and all that is in them, to stay where they are"
  }
}
