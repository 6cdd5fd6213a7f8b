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

# What the provider gives to everything is on the machines as well, and goes by
# var.tags and its validation.
data "aws_default_tags" "here" {
  lifecycle {
    postcondition {
      condition     = alltrue([for key in keys(self.tags) : can(regex("^[A-Za-z0-9+=.,_:@-]{1,128}$", key)) && !contains([".", "..", "_index"], key)])
      error_message = "default_tags of the provider: want keys of letters, digits and +-=.,_:@: EC2 launches no instance whose metadata has its tags if one has a space or a slash in its key. Give the module a provider without them (providers = { aws = aws.other })."
    }
    postcondition {
      condition     = alltrue([for key in keys(self.tags) : !startswith(key, "vpnami:")])
      error_message = "default_tags of the provider: keys that begin with \"vpnami:\" are set by this module, and roles are bounded by them."
    }
  }
}

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
