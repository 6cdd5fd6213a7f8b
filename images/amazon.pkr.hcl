# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The AMI: Canonical's newest image of an Ubuntu LTS, turned into the one image by the
# build block of vpnami.pkr.hcl.
#
#   packer init images && packer build images
#   packer build -var ubuntu=26.04 -var architecture=arm64 images

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.8.2, < 2.0.0"
    }
  }
}

# ---- What is made -----------------------------------------------------------------------

variable "ubuntu" {
  type        = string
  default     = "24.04"
  description = "Ubuntu LTS that the AMI is made of: 24.04 (OpenVPN 2.6) or 26.04 (OpenVPN 2.7, with data channel offload)."

  validation {
    condition     = contains(["24.04", "26.04"], var.ubuntu)
    error_message = "The image can be made of Ubuntu 24.04 or 26.04."
  }
}

variable "architecture" {
  type        = string
  default     = "amd64"
  description = "Processor that the AMI runs on: amd64, or arm64 (Graviton)."

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "The architecture can be amd64 or arm64."
  }
}

variable "source_owners" {
  type        = list(string)
  default     = ["099720109477"]
  description = "Accounts whose images may be the source. The default is Canonical's; 513442679011 is Canonical's in GovCloud, 837727238323 in China. The name of an image says nothing about who made it: the owner does."

  validation {
    condition     = length(var.source_owners) > 0
    error_message = "Anybody can publish an image of any name: an owner must be given."
  }
}

variable "source_name" {
  type        = string
  default     = null
  description = "Name that the source image must have, with * for anything. Default: that of Canonical's server images on gp3 for the release and the architecture. One image's exact name pins it."
}

variable "ami_name" {
  type        = string
  default     = null
  description = "Name of the AMI, unique in the account and region. Default: vpnami-VERSION-RELEASE-ARCHITECTURE-TIME."
}

variable "volume_size" {
  type        = number
  default     = 8
  description = "Size of the root volume in GiB; a launch may ask for more. Canonical's images need 8."

  validation {
    condition     = var.volume_size >= 8
    error_message = "Canonical's images do not fit on less than 8 GiB."
  }
}

variable "encrypt" {
  type        = bool
  default     = null
  description = "Whether the AMI's snapshot is encrypted. Default: as the account encrypts new volumes. An account that always encrypts does so even if this says false."
}

variable "kms_key" {
  type        = string
  default     = null
  description = "KMS key that encrypts the snapshot: id, ARN or alias/NAME. Default: the account's key for EBS, with which an AMI cannot be shared. Who bakes needs the rights of iam/volumes.json on one of yours, beside those of iam/bake.json; so does who launches from the AMI in another account, which the key's policy lets in (iam/key.json)."
}

variable "imds_support" {
  type        = string
  default     = "v2.0"
  description = "\"v2.0\": what is launched from the AMI answers metadata requests with a token only, which cannot be undone on an AMI. AWS then gives a launch that does not say otherwise a hop limit of 2, and with it lets one router reach the metadata: the launch must say 1 (images/launch does), the image's packet filter keeps tunnel clients away from 169.254.169.254 in any case, and the first boot warns of a limit above 1. null: as the launch says, default included."

  validation {
    condition     = var.imds_support == null || var.imds_support == "v2.0"
    error_message = "It can be \"v2.0\" or null."
  }
}

# ---- Where it goes ----------------------------------------------------------------------

variable "region" {
  type        = string
  default     = null
  description = "Region that the AMI is made in. Default: AWS_REGION or the profile's."
}

variable "copy_to" {
  type        = list(string)
  default     = []
  description = "Further regions that the AMI is copied to. Packer leaves the copies of a bake that fails after that: \"vpnami-images sweep --region REGION\" removes them a day later."
}

variable "copy_kms_keys" {
  type        = map(string)
  default     = {}
  description = "KMS key for each region of copy_to; \"\" is that region's key for EBS. Only beside encrypt = true; it must then have the region of the build as well. Each of yours needs the rights of iam/volumes.json, as kms_key does."
}

variable "share_with" {
  type        = list(string)
  default     = []
  description = "Accounts that may launch the AMI, by their 12 digits. \"vpnami-images share\" does it later."
}

variable "share_with_organizations" {
  type        = list(string)
  default     = []
  description = "ARNs of AWS Organizations whose accounts may launch the AMI."
}

variable "deprecate_at" {
  type        = string
  default     = null
  description = "When the AMI becomes deprecated (no longer listed for others; launches still work), as 2027-06-30T00:00:00Z. \"vpnami-images deprecate\" does it later."
}

variable "deregistration_protection" {
  type        = bool
  default     = null
  description = "Whether AWS refuses to deregister the AMI until the protection is taken away."
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Further tags of the AMI and its snapshot, and of what the build makes meanwhile."
}

# ---- How it is made ---------------------------------------------------------------------

variable "instance_type" {
  type        = string
  default     = null
  description = "Type of the instance that the AMI is made on. Default: t3.small, or t4g.small for arm64."
}

variable "vpc_id" {
  type        = string
  default     = null
  description = "VPC of the build. Default: the subnet's, or the region's default VPC."
}

variable "subnet_id" {
  type        = string
  default     = null
  description = "Subnet of the build; it must reach Ubuntu's archive. Default: one of the default VPC."
}

variable "public_address" {
  type        = bool
  default     = null
  description = "Whether the build has a public address. Default: as the subnet says."
}

variable "ssh_interface" {
  type        = string
  default     = null
  description = "How the build is reached: public_ip, private_ip, public_dns, private_dns, ipv6, or session_manager, which opens no port at all and needs instance_profile, AWS's session-manager-plugin on this machine, and the rights of iam/session.json beside those of iam/bake.json. Default: the public address if there is one."

  validation {
    condition     = var.ssh_interface == null || contains(["public_ip", "private_ip", "public_dns", "private_dns", "ipv6", "session_manager"], coalesce(var.ssh_interface, "none"))
    error_message = "It can be public_ip, private_ip, public_dns, private_dns, ipv6 or session_manager."
  }
}

variable "instance_profile" {
  type        = string
  default     = null
  description = "Instance profile of the build. Only session_manager needs one, with the policy AmazonSSMManagedInstanceCore."
}

variable "ssh_from" {
  type        = list(string)
  default     = []
  description = "Networks that the build's group lets SSH in from. Default: this machine's public address alone, as checkip.amazonaws.com sees it; a build that is reached at a private address must say from where."
}

variable "build_limit_minutes" {
  type        = number
  default     = 120
  description = "After so many minutes the build's instance terminates itself, whatever became of Packer."
}

# ---- A stand-in for AWS -----------------------------------------------------------------

variable "custom_endpoint_ec2" {
  type        = string
  default     = null
  description = "EC2's address where it is not AWS: a rehearsal's stand-in. AWS_ENDPOINT_URL says it for the other services."
}

variable "ssh_host" {
  type        = string
  default     = null
  description = "Guest that is provisioned in place of the instance, in a rehearsal whose stand-in starts none."
}

variable "ssh_port" {
  type        = number
  default     = null
  description = "Port of that guest's SSH."
}

locals {
  releases = {
    "24.04" = "noble"
    "26.04" = "resolute"
  }
  ubuntu_release = local.releases[var.ubuntu]
  source_name    = coalesce(var.source_name, "ubuntu/images/hvm-ssd-gp3/ubuntu-${local.ubuntu_release}-${var.ubuntu}-${var.architecture}-server-*")
  processor      = var.architecture == "arm64" ? "arm64" : "x86_64"
  began          = formatdate("YYYYMMDD'T'hhmmss'Z'", timestamp())
  ami_name       = coalesce(var.ami_name, "vpnami-${var.version}-${local.ubuntu_release}-${var.architecture}-${local.began}")

  # Session manager needs no rule, and Packer makes none then.
  ask_public_address = length(var.ssh_from) == 0 && !contains(["private_ip", "private_dns", "session_manager"], coalesce(var.ssh_interface, "public_ip"))

  tags = merge(var.tags, {
    "vpnami:version"      = var.version
    "vpnami:commit"       = var.commit
    "vpnami:build"        = local.began
    "vpnami:release"      = local.ubuntu_release
    "vpnami:architecture" = var.architecture
  })
}

source "amazon-ebs" "ubuntu" {
  region              = var.region
  custom_endpoint_ec2 = var.custom_endpoint_ec2
  # This machine's metadata is no business of a build that talks to a stand-in.
  skip_metadata_api_check = var.custom_endpoint_ec2 != null

  source_ami_filter {
    owners      = var.source_owners
    most_recent = true
    filters = {
      name                = local.source_name
      architecture        = local.processor
      virtualization-type = "hvm"
      state               = "available"
    }
  }

  ami_name                = local.ami_name
  ami_description         = "vpnami ${var.version}: OpenVPN gateway and bastion on Ubuntu ${var.ubuntu} (${var.architecture})"
  ami_virtualization_type = "hvm"
  ena_support             = true
  imds_support            = var.imds_support
  ami_regions             = var.copy_to
  ami_users               = var.share_with
  ami_org_arns            = var.share_with_organizations
  deprecate_at            = var.deprecate_at

  dynamic "deregistration_protection" {
    for_each = var.deregistration_protection == true ? [true] : []
    content {
      enabled = true
    }
  }

  # The volume is encrypted from the start, so that no copy of the finished AMI is
  # needed; copies in other regions are encrypted as they are made.
  encrypt_boot       = length(var.copy_to) > 0 ? var.encrypt : null
  kms_key_id         = length(var.copy_to) > 0 ? var.kms_key : null
  region_kms_key_ids = var.copy_kms_keys
  launch_block_device_mappings {
    device_name           = "/dev/sda1"
    volume_type           = "gp3"
    volume_size           = var.volume_size
    encrypted             = var.encrypt
    kms_key_id            = var.kms_key
    delete_on_termination = true
  }

  instance_type               = coalesce(var.instance_type, var.architecture == "arm64" ? "t4g.small" : "t3.small")
  vpc_id                      = var.vpc_id
  subnet_id                   = var.subnet_id
  associate_public_ip_address = var.public_address
  iam_instance_profile        = var.instance_profile
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  # Packer removes the instance, the key pair and the group when it ends, well or
  # not. When it is killed, or its machine vanishes, the instance ends itself, and
  # "vpnami-images sweep" finds the rest by these tags. Packer gives them to the AMI and
  # its snapshot too, and iam/bake.json lets the bake touch only what bears vpnami:bake.
  shutdown_behavior = "terminate"
  user_data         = "#!/bin/sh\nshutdown -P +${var.build_limit_minutes}\n"
  run_tags          = merge(local.tags, { "Name" = "vpnami-bake", "vpnami:bake" = local.ami_name })
  run_volume_tags   = merge(local.tags, { "Name" = "vpnami-bake", "vpnami:bake" = local.ami_name })

  communicator                              = "ssh"
  ssh_username                              = "ubuntu"
  ssh_interface                             = var.ssh_interface
  ssh_host                                  = var.ssh_host
  ssh_port                                  = var.ssh_port
  temporary_key_pair_type                   = "ed25519"
  temporary_security_group_source_cidrs     = var.ssh_from
  temporary_security_group_source_public_ip = local.ask_public_address

  # Copying to another region takes longer than Packer's own ten minutes.
  aws_polling {
    delay_seconds = 10
    max_attempts  = 270
  }

  tags = merge(local.tags, {
    "Name"                   = local.ami_name
    "vpnami:source-ami"      = "{{ .SourceAMI }}"
    "vpnami:source-ami-name" = "{{ .SourceAMIName }}"
  })
}
