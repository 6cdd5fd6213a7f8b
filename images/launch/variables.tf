# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# What is launched, whose it is, who logs in and who is told: enough for most. The rest
# is in variables_machines.tf, variables_network.tf and variables_secrets.tf.

variable "name" {
  type        = string
  description = "Name of this launch: the beginning of what it makes, and the value of the tag vpnami:launch. One in the account, whatever the region: roles have no region."
  default     = "vpn"
  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$", var.name))
    error_message = "name: want up to 24 lower-case letters, digits and dashes, a letter first (names of load balancers hold 32)."
  }
  validation {
    # "sg" by itself makes groups such as sg-gateway.
    condition     = !startswith(var.name, "internal-") && !startswith("${var.name}-", "sg-")
    error_message = "name: AWS takes no load balancer whose name begins with \"internal-\", and no security group whose name begins with \"sg-\": want another."
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
    condition     = can(regex("^[A-Za-z0-9_+=.@-]+(/[A-Za-z0-9_+=.@-]+)*$", var.secret)) && length(var.secret) <= 300
    error_message = "secret: want words of letters, digits and _+=.@- between slashes, such as vpn/office; neither a slash nor a star at an end; 300 characters at most, for a policy has room for so many."
  }
}

variable "key_name" {
  type        = string
  description = "EC2 key pair that logs in to the bastion, and to the gateway while SSH is open. Null: nobody's."
  default     = null
}

variable "tags" {
  type        = map(string)
  description = "Tags of everything that is made. Keys that begin with vpnami: are its own."
  default     = {}
  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "vpnami:") && key != "Name" && !startswith(lower(key), "aws:")])
    error_message = "tags: keys that begin with \"vpnami:\", and Name, are set by this module, and those that begin with \"aws:\" by AWS alone."
  }
  validation {
    # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html
    condition     = alltrue([for key in keys(var.tags) : can(regex("^[A-Za-z0-9+=.,_:@-]{1,128}$", key)) && !contains([".", "..", "_index"], key)])
    error_message = "tags: want keys of letters, digits and +-=.,_:@: EC2 launches no instance whose metadata has its tags if one has a space or a slash in its key."
  }
}

variable "permissions_boundary" {
  type        = string
  description = "ARN of the policy that bounds the role, where an organization demands one."
  default     = null
}

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

variable "log_policy" {
  type        = bool
  description = "Let EventBridge write to the launch's log group by a resource policy of CloudWatch Logs. A region has ten of them for an account, and no more on request: false where one of yours lets events.amazonaws.com and delivery.logs.amazonaws.com write to /aws/events/* already."
  default     = true
}
