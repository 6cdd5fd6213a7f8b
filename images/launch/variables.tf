# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# What is launched.

variable "name" {
  type        = string
  description = "Name of this launch: the beginning of what it makes, and the value of the tag vpnami:launch. One in the account, whatever the region: roles have no region."
  default     = "vpn"
  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$", var.name))
    error_message = "name: want up to 24 lower-case letters, digits and dashes, a letter first (names of load balancers hold 32)."
  }
}

variable "ami" {
  type        = string
  description = "AMI that vpnami's image was baked to. A new one replaces what is launched from it; for a gateway replaced without a cut see \"gateways\"."
  validation {
    condition     = can(regex("^ami-[0-9a-f]{8,17}$", var.ami))
    error_message = "ami: want the id of an AMI, such as ami-0123456789abcdef0."
  }
}

variable "secret" {
  type        = string
  description = "Beginning of the secrets' names, as in \"vpnami-pki publish --secret vpn/office\"."
  default     = "vpn/office"
  validation {
    condition     = can(regex("^[A-Za-z0-9_+=.@-]+(/[A-Za-z0-9_+=.@-]+)*$", var.secret)) && length(var.secret) <= 501
    error_message = "secret: want words of letters, digits and _+=.@- between slashes, such as vpn/office; neither a slash nor a star at an end."
  }
}

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

variable "step_instance_type" {
  type        = string
  description = "Type of the bastion."
  default     = "t3.micro"
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
    condition     = var.step == null || try(alltrue([for n in var.step.ssh_from : can(cidrnetmask(n)) && tonumber(split("/", n)[1]) >= 8]), false)
    error_message = "step: ssh_from: want IPv4 networks of the VPC, /8 or smaller: a bastion is not for the internet."
  }
}

variable "key_name" {
  type        = string
  description = "EC2 key pair that logs in to the bastion, and to the gateway while SSH is open. Null: nobody's."
  default     = null
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
  description = "KMS key of the volumes. Null: AWS's own (aws/ebs). For Auto Scaling, its service-linked role needs a grant."
  default     = null
}

variable "permissions_boundary" {
  type        = string
  description = "ARN of the policy that bounds the role, where an organization demands one."
  default     = null
}

variable "tags" {
  type        = map(string)
  description = "Tags of everything that is made. Keys that begin with vpnami: are its own."
  default     = {}
  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "vpnami:") && key != "Name"])
    error_message = "tags: keys that begin with \"vpnami:\", and Name, are set by this module."
  }
  validation {
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html
    condition     = alltrue([for key in keys(var.tags) : can(regex("^[A-Za-z0-9+=.,_:@-]{1,128}$", key)) && !contains([".", "..", "_index"], key)])
    error_message = "tags: want keys of letters, digits and +-=.,_:@: EC2 launches no instance whose metadata has its tags if one has a space or a slash in its key."
  }
}

# The network.

variable "network" {
  type = object({
    vpc_id           = string
    vpc_blocks       = list(string)
    gateway_subnets  = list(object({ id = string, block = string }))
    step_subnet      = optional(object({ id = string, block = string }))
    step_route_table = optional(string)
    route_tables     = optional(map(string), {})
  })
  description = <<-EOT
    An existing VPC; null: a new one is made. vpc_blocks: its IPv4 blocks.
    gateway_subnets: subnets with a route to an internet gateway, by id and IPv4 block;
    the first one for a single gateway. step_subnet: the bastion's, likewise.
    step_route_table: where its way out is routed (egress = "gateway"). route_tables:
    where nat = "routed" adds the route to the tunnel network, by any name.
  EOT
  default     = null
  validation {
    condition = var.network == null || try(alltrue([for n in concat(
      var.network.vpc_blocks,
      var.network.gateway_subnets[*].block,
      var.network.step_subnet == null ? [] : [var.network.step_subnet.block],
    ) : can(cidrhost(n, 0)) && length(regexall(":", n)) == 0]) && length(var.network.vpc_blocks) >= 1, false)
    error_message = "network: vpc_blocks, gateway_subnets and step_subnet: want IPv4 networks, such as 10.0.0.0/16."
  }
  validation {
    condition     = var.network == null || try(length(var.network.gateway_subnets) >= 1, false)
    error_message = "network: gateway_subnets: want at least one."
  }
  validation {
    condition     = var.network == null || var.step == null || try(var.network.step_subnet, null) != null
    error_message = "network: step_subnet: the bastion needs one (or step = null)."
  }
  validation {
    condition     = var.network == null || var.step == null || coalesce(var.egress, "gateway") != "gateway" || length(var.slots) > 0 || try(var.network.step_route_table, null) != null
    error_message = "network: step_route_table: the bastion's way out through the gateway is routed there; or choose egress = \"none\"."
  }
  validation {
    condition     = var.network == null || try(var.egress, null) != "nat-gateway"
    error_message = "network: egress = \"nat-gateway\" is for a new VPC; add one to yours yourself, and choose \"none\"."
  }
  validation {
    condition     = var.network == null || var.nat != "routed" || try(length(var.network.route_tables) > 0, false)
    error_message = "network: route_tables: nat = \"routed\" needs those of the subnets that clients are to reach."
  }
}

variable "vpc_cidr" {
  type        = string
  description = "Block of the new VPC; it gets public subnets for the gateways and a private one for the bastion."
  default     = "10.0.0.0/16"
  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 24, false)
    error_message = "vpc_cidr: want an IPv4 network from /16 to /24."
  }
}

variable "tunnel_network" {
  type        = string
  description = "Addresses in the tunnel of the one gateway. Inside the VPC for nat = \"masquerade\", where it is reserved; outside for \"routed\"."
  default     = "10.0.255.0/24"
  validation {
    condition     = can(cidrnetmask(var.tunnel_network)) && try(cidrhost(var.tunnel_network, 0) == split("/", var.tunnel_network)[0], false) && try(tonumber(split("/", var.tunnel_network)[1]) >= 16 && tonumber(split("/", var.tunnel_network)[1]) <= 29, false)
    error_message = "tunnel_network: want an IPv4 network from /16 to /29 without host bits, such as 10.0.255.0/24."
  }
  validation {
    condition     = anytrue([for block in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"] : try(cidrhost("${split("/", var.tunnel_network)[0]}/${split("/", block)[1]}", 0) == split("/", block)[0], false)])
    error_message = "tunnel_network: want private addresses (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10): the first boot takes no others."
  }
  validation {
    condition     = var.network != null || try(split("/", var.tunnel_network)[1] <= split("/", var.vpc_cidr)[1] || cidrhost("${cidrhost(var.vpc_cidr, 2)}/${split("/", var.tunnel_network)[1]}", 0) != split("/", var.tunnel_network)[0], false)
    error_message = "tunnel_network: the VPC's name server has an address in it, its block plus two: want another part of the block."
  }
}

variable "routes" {
  type        = list(string)
  description = "Networks that clients reach through the tunnel. Null: the VPC's own blocks."
  default     = null
  validation {
    condition     = var.routes == null || try(length(var.routes) > 0 && length(var.routes) <= 64 && alltrue([for n in var.routes : can(cidrnetmask(n)) && tonumber(split("/", n)[1]) > 0]), false)
    error_message = "routes: want 1 to 64 IPv4 networks, none of them 0.0.0.0/0: the tunnel is not for the rest of the internet."
  }
  validation {
    # Networks overlap when they begin alike, as far as the shorter prefix goes.
    condition = var.routes == null || try(alltrue([for pair in setproduct(var.routes, ["169.254.0.0/16", "127.0.0.0/8", "224.0.0.0/3"]) :
      cidrhost("${split("/", pair[0])[0]}/${min(split("/", pair[0])[1], split("/", pair[1])[1])}", 0) !=
      cidrhost("${split("/", pair[1])[0]}/${min(split("/", pair[0])[1], split("/", pair[1])[1])}", 0)
    ]), false)
    error_message = "routes: want none with link-local addresses in it (the metadata service), the loopback's or multicast."
  }
  validation {
    condition     = var.routes == null || try(length(distinct(var.routes)) == length(var.routes) && !contains(var.routes, var.tunnel_network) && length(setintersection(var.routes, values(var.slots))) == 0, false)
    error_message = "routes: want each once, and not the tunnel network itself."
  }
}

variable "dns" {
  type        = list(string)
  description = "Name servers for clients, three at most; the VPC's own is its block plus two."
  default     = []
  validation {
    condition     = length(var.dns) <= 3 && alltrue([for a in var.dns : can(cidrnetmask("${a}/32"))])
    error_message = "dns: want up to three IPv4 addresses."
  }
  validation {
    condition     = alltrue([for a in var.dns : try(cidrhost("${a}/16", 0) != "169.254.0.0", false)])
    error_message = "dns: clients do not reach link-local addresses; the VPC's own name server is its block plus two."
  }
}

variable "port" {
  type        = number
  description = "Port of the daemon."
  default     = 1194
  validation {
    condition     = var.port >= 1024 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port: want 1024 to 65535: the daemon has no right to lower ones."
  }
  validation {
    condition     = var.port != 1195 || length(var.slots) == 0
    error_message = "port: 1195 is the health port of gateways behind a load balancer; want another."
  }
}

variable "proto" {
  type        = string
  description = "udp, or tcp for networks that let nothing else through."
  default     = "udp"
  validation {
    condition     = contains(["udp", "tcp"], var.proto)
    error_message = "proto: want udp or tcp."
  }
}

variable "nat" {
  type        = string
  description = "masquerade: the VPC sees the gateway's address. per-client: whoever has a fixed address in the tunnel is seen with one of her own, of the \"addresses\" of \"gateways\", and the rest with the gateway's. routed: it sees the clients' own, which needs a tunnel network outside the VPC; the route is added, the source check turned off and the tunnel network admitted at the bastion."
  default     = "masquerade"
  validation {
    condition     = contains(["masquerade", "routed", "per-client"], var.nat)
    error_message = "nat: want masquerade, per-client or routed."
  }
  validation {
    condition     = var.nat != "per-client" || length(var.slots) == 0
    error_message = "nat: per-client needs one gateway: with \"slots\" nobody has a fixed address in the tunnel, and so nobody one of her own in the VPC."
  }
  validation {
    condition     = var.nat != "routed" || length(var.slots) == 0
    error_message = "nat: routed needs one gateway: a machine of an Auto Scaling group has no interface that a route could name beforehand."
  }
}

variable "egress" {
  type        = string
  description = "The bastion's way out, for updates (TCP 80 and 443): gateway; nat-gateway (a new VPC only); none (the network's own, VPC endpoints, or no updates). Null: gateway; with \"slots\", none."
  default     = null
  validation {
    condition     = var.egress == null || try(contains(["gateway", "nat-gateway", "none"], var.egress), false)
    error_message = "egress: want gateway, nat-gateway or none."
  }
  validation {
    condition     = var.egress != "gateway" || length(var.slots) == 0
    error_message = "egress: gateway needs one gateway: with \"slots\" choose nat-gateway or none."
  }
}

variable "reserve" {
  type        = bool
  description = "Keep the tunnel network, where it lies in one of the subnets, and people's own addresses from being given to anybody else there."
  default     = true
}

# Who may come.

variable "clients_from" {
  type        = list(string)
  description = "Networks that reach the daemon."
  default     = ["0.0.0.0/0"]
  validation {
    condition     = length(var.clients_from) > 0 && alltrue([for n in var.clients_from : can(cidrnetmask(n))])
    error_message = "clients_from: want at least one IPv4 network, or nobody reaches the tunnel."
  }
}

variable "ssh_from" {
  type        = list(string)
  description = "Networks that reach the gateway's sshd until its first boot is over, which closes it for good. Read when the group is made, and never again."
  default     = []
  validation {
    condition     = alltrue([for n in var.ssh_from : can(cidrnetmask(n))])
    error_message = "ssh_from: want IPv4 networks."
  }
}

# The secrets.

variable "secret_containers" {
  type        = bool
  description = "Make the secrets, without values. False where \"vpnami-pki publish\" has made them already; then they outlive this launch."
  default     = true
}

variable "secret_shards" {
  type        = number
  description = "How many containers for revocations and roster to make; one is enough for some 1000 people, and publish makes what is missing."
  default     = 1
  validation {
    condition     = var.secret_shards >= 0 && var.secret_shards <= 256 && floor(var.secret_shards) == var.secret_shards
    error_message = "secret_shards: want 0 to 256."
  }
}

variable "secret_kms_key_arn" {
  type        = string
  description = "KMS key of the secrets, by ARN. Null: AWS's own (aws/secretsmanager). Another account's gateways need one of yours."
  default     = null
  validation {
    # https://docs.aws.amazon.com/kms/latest/developerguide/cmks-in-iam-policies.html
    condition     = var.secret_kms_key_arn == null || can(regex("^arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.secret_kms_key_arn))
    error_message = "secret_kms_key_arn: want the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID: in a policy an alias names no key."
  }
}

variable "secret_recovery_days" {
  type        = number
  description = "Days for which a destroyed secret can be restored and its name is taken: 7 to 30, or 0 for a rehearsal."
  default     = 30
  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "secret_recovery_days: want 0, or 7 to 30."
  }
}

# Who is told.

variable "alarm_actions" {
  type        = list(string)
  description = "ARNs that alarms are sent to, such as an SNS topic. None: the alarms are there, and nobody is told."
  default     = []
}

variable "log_retention_days" {
  type        = number
  description = "Days that CloudWatch keeps what the gateways said of themselves."
  default     = 365
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: want one of the periods that CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}
