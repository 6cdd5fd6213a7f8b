# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# The containers. "vpnami-pki publish" puts the values, so that no state of
# Terraform ever has one.

locals {
  access = !var.secret_containers ? [] : concat([""], [for n in range(var.secret_shards) : format("/%03d", n)])
}

resource "aws_secretsmanager_secret" "server" {
  count                   = var.secret_containers ? 1 : 0
  name                    = "${var.secret}/server"
  description             = "vpnami: the gateway's certificate and keys, put by vpnami-pki publish"
  kms_key_id              = var.secret_kms_key_arn
  recovery_window_in_days = var.secret_recovery_days
  tags                    = local.tags
}

resource "aws_secretsmanager_secret" "access" {
  for_each                = toset(local.access)
  name                    = "${var.secret}/access${each.value}"
  description             = each.value == "" ? "vpnami: what belongs together, put by vpnami-pki publish" : "vpnami: revocations and roster, put by vpnami-pki publish"
  kms_key_id              = var.secret_kms_key_arn
  recovery_window_in_days = var.secret_recovery_days
  tags                    = local.tags
}
