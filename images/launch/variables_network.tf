# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# Where they stand, what clients reach and how, and who may come.

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

variable "reserve" {
  type        = bool
  description = "Keep the tunnel network, where it lies in one of the subnets, and people's own addresses from being given to anybody else there."
  default     = true
}

variable "routes" {
  type        = list(string)
  description = "Networks that clients reach through the tunnel, 58 at most: a security group has 60 rules for each direction, and two are for the gateway's own way out. Null: the VPC's own blocks."
  default     = null
  validation {
    condition     = var.routes == null || try(length(var.routes) > 0 && length(var.routes) <= 58 && alltrue([for n in var.routes : can(cidrnetmask(n)) && tonumber(split("/", n)[1]) > 0]), false)
    error_message = "routes: want 1 to 58 IPv4 networks (a security group has 60 rules, and two are the gateway's own), none of them 0.0.0.0/0: the tunnel is not for the rest of the internet."
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

variable "clients_from" {
  type        = list(string)
  description = "Networks that reach the daemon, 58 at most: a security group has 60 rules for each direction, and two are for the bastion."
  default     = ["0.0.0.0/0"]
  validation {
    condition     = length(var.clients_from) > 0 && alltrue([for n in var.clients_from : can(cidrnetmask(n))])
    error_message = "clients_from: want at least one IPv4 network, or nobody reaches the tunnel."
  }
  validation {
    # https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
    condition     = length(distinct(var.clients_from)) <= 58
    error_message = "clients_from: want 58 networks at most: a security group has 60 rules, and two are the bastion's. Put neighbours together, or admit all: the tunnel asks everybody for a certificate."
  }
}

variable "ssh_from" {
  type        = list(string)
  description = "Networks that reach the gateway's sshd until its first boot is over, which closes it for good. Read when the group is made, and never again."
  default     = []
  validation {
    condition     = alltrue([for n in var.ssh_from : can(cidrnetmask(n))]) && length(var.ssh_from) <= 60
    error_message = "ssh_from: want IPv4 networks, 60 at most, which is what a security group has rules for."
  }
}
