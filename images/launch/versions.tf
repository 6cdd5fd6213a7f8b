# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

terraform {
  # 1.9: a variable's validation may look at other variables.
  required_version = ">= 1.9.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

data "aws_region" "here" {}
data "aws_partition" "here" {}
data "aws_caller_identity" "here" {}

locals {
  region    = data.aws_region.here.name
  partition = data.aws_partition.here.partition
  account   = data.aws_caller_identity.here.account_id

  # What the roles' conditions look at: an instance or a group of another launch
  # is none of this one's business.
  launch_tag = { "vpnami:launch" = var.name }
  tags       = merge(var.tags, local.launch_tag)

  grouped = length(var.slots) > 0
}
