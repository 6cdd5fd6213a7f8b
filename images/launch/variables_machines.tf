# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The gateways and the bastion: how many, of what, and which of them has the address.

variable "gateways" {
  type = map(object({
    ami             = optional(string)
    private_address = optional(string)
    addresses       = optional(list(string))
  }))
  description = <<-EOT
    The machines for the one address: mostly one. To replace it without a cut, add
    another (its ami is the variable "ami" unless it says otherwise), apply, wait for
    its tag vpnami:status=ready, make it "active", apply, take the first away. With
    "slots", this is not looked at.
    addresses, for nat = "per-client": networks of the gateway's subnet, /28 or larger,
    that stand for the lower half of the tunnel network, in their order: with
    ["10.0.1.64/27"], whoever has 10.0.255.10 in the tunnel is 10.0.1.74 in the VPC. Each
    machine has its own, 16 people to a /28. How many /28 fit an interface is the
    instance type's addresses per interface less one (3 for t3.small, 9 for c7i.large),
    and only Nitro types take any: the plan asks EC2. To name more behind the others
    moves nobody.
  EOT
  default     = { a = {} }
  validation {
    condition     = alltrue([for key in keys(var.gateways) : can(regex("^[a-z0-9]{1,8}$", key))]) && length(var.gateways) >= 1 && length(var.gateways) <= 4
    error_message = "gateways: want one to four, named by up to 8 lower-case letters and digits."
  }
  validation {
    condition     = alltrue([for g in values(var.gateways) : g.ami == null || can(regex("^ami-[0-9a-f]{8,17}$", g.ami))])
    error_message = "gateways: ami: want the id of an AMI, such as ami-0123456789abcdef0."
  }
  validation {
    condition     = alltrue([for g in values(var.gateways) : g.private_address == null || can(cidrnetmask("${g.private_address}/32"))])
    error_message = "gateways: private_address: want an IPv4 address of the gateway's subnet."
  }
  validation {
    condition = alltrue(flatten([for g in values(var.gateways) : [for n in g.addresses == null ? [] : g.addresses :
      can(cidrnetmask(n)) && try(cidrhost(n, 0) == split("/", n)[0], false) && try(tonumber(split("/", n)[1]) >= 16 && tonumber(split("/", n)[1]) <= 28, false)
    ]]))
    error_message = "gateways: addresses: want IPv4 networks from /16 to /28 without host bits, such as 10.0.1.64/27."
  }
  validation {
    condition     = length(var.slots) > 0 || alltrue([for g in values(var.gateways) : (var.nat == "per-client") == (g.addresses != null && try(length(g.addresses) > 0, false))])
    error_message = "gateways: addresses: nat = \"per-client\" needs them for each machine, and nothing else does."
  }
  validation {
    # Networks overlap when they begin alike, as far as the shorter prefix goes.
    condition = try(alltrue([for pair in setproduct(
      flatten([for key, g in var.gateways : [for i, n in g.addresses == null ? [] : g.addresses : { id = "${key} ${i}", n = n }]]),
      flatten([for key, g in var.gateways : [for i, n in g.addresses == null ? [] : g.addresses : { id = "${key} ${i}", n = n }]]),
      ) : pair[0].id == pair[1].id ||
      cidrhost("${split("/", pair[0].n)[0]}/${min(split("/", pair[0].n)[1], split("/", pair[1].n)[1])}", 0) !=
      cidrhost("${split("/", pair[1].n)[0]}/${min(split("/", pair[0].n)[1], split("/", pair[1].n)[1])}", 0)
    ]), false)
    error_message = "gateways: addresses: each is one interface's at a time, so none may be in two networks, of one machine or of two."
  }
}

variable "active" {
  type        = string
  description = "Which of \"gateways\" has the Elastic IP and the routes."
  default     = "a"
  validation {
    condition     = length(var.slots) > 0 || contains(keys(var.gateways), var.active)
    error_message = "active: want a key of \"gateways\"."
  }
}

variable "slots" {
  type        = map(string)
  description = <<-EOT
    Tunnel network by slot, for several gateways behind a UDP load balancer, such as
    { a = "10.0.254.0/24", b = "10.0.255.0/24" }. Each slot is an Auto Scaling group of
    one machine, because every machine of a group has the same user-data and a tunnel
    network belongs to one gateway. Empty: one gateway with an Elastic IP.
  EOT
  default     = {}
  validation {
    condition     = alltrue([for key in keys(var.slots) : can(regex("^[a-z0-9]{1,4}$", key))]) && length(var.slots) <= 16
    error_message = "slots: want up to 16, named by up to 4 lower-case letters and digits."
  }
  validation {
    condition     = alltrue([for n in values(var.slots) : can(cidrnetmask(n)) && try(cidrhost(n, 0) == split("/", n)[0], false) && try(tonumber(split("/", n)[1]) >= 16 && tonumber(split("/", n)[1]) <= 29, false)])
    error_message = "slots: want IPv4 networks from /16 to /29 without host bits, such as 10.0.255.0/24."
  }
  validation {
    # Networks overlap when they begin alike, as far as the shorter prefix goes.
    condition = try(alltrue([for pair in setproduct(keys(var.slots), keys(var.slots)) : pair[0] == pair[1] ||
      cidrhost("${split("/", var.slots[pair[0]])[0]}/${min([for key in pair : split("/", var.slots[key])[1]]...)}", 0) !=
      cidrhost("${split("/", var.slots[pair[1]])[0]}/${min([for key in pair : split("/", var.slots[key])[1]]...)}", 0)
    ]), false)
    error_message = "slots: each needs a tunnel network of its own, which overlaps none of the others."
  }
  validation {
    condition     = alltrue([for n in values(var.slots) : anytrue([for block in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"] : try(cidrhost("${split("/", n)[0]}/${split("/", block)[1]}", 0) == split("/", block)[0], false)])])
    error_message = "slots: want private addresses (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10): the first boot takes no others."
  }
}

variable "instance_type" {
  type        = string
  description = "Type of the gateways. OpenVPN uses one core."
  default     = "t3.small"
}

variable "step" {
  type = object({
    ami             = optional(string)
    private_address = optional(string)
    ssh_from        = optional(list(string), [])
  })
  description = "The bastion; null for none. ssh_from: networks of the VPC that reach its sshd besides the gateway."
  default     = {}
  validation {
    condition     = var.step == null || try(var.step.ami, null) == null || can(regex("^ami-[0-9a-f]{8,17}$", var.step.ami))
    error_message = "step: ami: want the id of an AMI, such as ami-0123456789abcdef0."
  }
  validation {
    condition     = try(var.step.private_address, null) == null || can(cidrnetmask("${var.step.private_address}/32"))
    error_message = "step: private_address: want an IPv4 address of the bastion's subnet."
  }
  validation {
    condition     = var.step == null || try(length(var.step.ssh_from) <= 58, false)
    error_message = "step: ssh_from: want 58 networks at most: a security group has 60 rules, and two are for the tunnel's clients."
  }
  validation {
    condition     = var.step == null || try(alltrue([for n in var.step.ssh_from : can(cidrnetmask(n)) && tonumber(split("/", n)[1]) >= 8]), false)
    error_message = "step: ssh_from: want IPv4 networks of the VPC, /8 or smaller: a bastion is not for the internet."
  }
}

variable "step_instance_type" {
  type        = string
  description = "Type of the bastion."
  default     = "t3.micro"
}

variable "root_volume_size" {
  type        = number
  description = "GiB of the root volumes; not less than the image's own, which is 8 for one made of Canonical's."
  default     = 8
  validation {
    condition     = var.root_volume_size >= 2 && var.root_volume_size <= 1024
    error_message = "root_volume_size: want 2 to 1024 GiB."
  }
}

variable "volume_kms_key_arn" {
  type        = string
  description = <<-EOT
    KMS key of the volumes, by ARN. Null: AWS's own (aws/ebs). Who applies needs the rights
    of ../iam/volumes.json on it, and on the key of an encrypted AMI that another account
    shares. With "slots", Auto Scaling's service-linked role needs a grant on each of them,
    or its machines end as soon as they start: README.md says how.
  EOT
  default     = null
  validation {
    condition     = var.volume_kms_key_arn == null || can(regex("^arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.volume_kms_key_arn))
    error_message = "volume_kms_key_arn: want the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID: AWS says that of a volume, and with an alias each plan would make the machines anew."
  }
}
