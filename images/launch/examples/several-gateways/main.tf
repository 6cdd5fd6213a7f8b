# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# Two gateways behind a UDP load balancer, in a new VPC.

terraform {
  required_version = ">= 1.9.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region
  # Where EC2 has no capacity, 25 tries, which are the default, hide that for half an
  # hour.
  max_retries = 8
}

variable "region" {
  type        = string
  description = "Region to launch in."
  default     = "ap-northeast-1"
}

variable "ami" {
  type        = string
  description = "AMI of vpnami's image."
}

variable "key_name" {
  type        = string
  description = "EC2 key pair for the bastion."
}

variable "secret_recovery_days" {
  type        = number
  description = "As in the module."
  default     = 30
}

module "vpn" {
  source = "../.."

  name     = "office"
  ami      = var.ami
  secret   = "vpn/office"
  key_name = var.key_name
  slots    = { a = "10.0.254.0/24", b = "10.0.255.0/24" }
  egress   = "nat-gateway"

  secret_recovery_days = var.secret_recovery_days
}

output "next" {
  description = "What is to be done now."
  value       = module.vpn.next
}
