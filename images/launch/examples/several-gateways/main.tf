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

module "vpn" {
  source = "../.."

  name   = "office"
  ami    = var.ami
  secret = "vpn/office"
  slots  = { a = "10.0.254.0/24", b = "10.0.255.0/24" }
  egress = "nat-gateway"
}

output "next" {
  description = "What is to be done now."
  value       = module.vpn.next
}
