# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The containers of the secret that "secret" names.

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
