# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The article's network, made as it is clicked together there: one VPC with one
# subnet, an internet gateway, and the two machines at their addresses. The bastion
# has no public address, and so, as in the article, no way out: in this one subnet
# a route for it would be the gateway's own as well.

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
  description = "The article's: Tokyo."
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

variable "gateways" {
  type        = map(object({ ami = optional(string), private_address = optional(string), addresses = optional(list(string)) }))
  description = "As in the module."
  default     = { a = { private_address = "10.0.1.2" } }
}

variable "nat" {
  type        = string
  description = "As in the module."
  default     = "masquerade"
}

variable "active" {
  type        = string
  description = "As in the module."
  default     = "a"
}

variable "secret_recovery_days" {
  type        = number
  description = "As in the module."
  default     = 30
}

resource "aws_vpc" "office_lan" {
  cidr_block = "10.0.0.0/16"
  tags       = { Name = "office-lan" }
}

resource "aws_subnet" "office_lan" {
  vpc_id     = aws_vpc.office_lan.id
  cidr_block = "10.0.0.0/16"
  tags       = { Name = "office-lan-subnet" }
}

resource "aws_internet_gateway" "office" {
  vpc_id = aws_vpc.office_lan.id
  tags   = { Name = "office-inet-gw" }
}

resource "aws_route_table" "office_lan" {
  vpc_id = aws_vpc.office_lan.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.office.id
  }
  tags = { Name = "route-office-lan" }
}

resource "aws_route_table_association" "office_lan" {
  subnet_id      = aws_subnet.office_lan.id
  route_table_id = aws_route_table.office_lan.id
}

module "vpn" {
  source = "../.."

  name     = "vpn"
  ami      = var.ami
  secret   = "vpn/office"
  key_name = var.key_name

  network = {
    vpc_id          = aws_vpc.office_lan.id
    vpc_blocks      = [aws_vpc.office_lan.cidr_block]
    gateway_subnets = [{ id = aws_subnet.office_lan.id, block = aws_subnet.office_lan.cidr_block }]
    step_subnet     = { id = aws_subnet.office_lan.id, block = aws_subnet.office_lan.cidr_block }
  }
  egress = "none"

  tunnel_network = "10.0.255.0/24"
  gateways       = var.gateways
  active         = var.active
  nat            = var.nat
  step = {
    private_address = "10.0.2.2"
    ssh_from        = ["10.0.0.0/16"]
  }

  # As in the article: open for the world until the first boot is over.
  ssh_from             = ["0.0.0.0/0"]
  secret_recovery_days = var.secret_recovery_days
}

output "vpn" {
  description = "Everything that the module tells."
  value       = module.vpn
}

output "next" {
  description = "What is to be done now."
  value       = module.vpn.next
}
