# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# What a gateway may do. It can open nothing, and the bastion has no role at all.

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

locals {
  # This launch's secrets, and none of another whose "secret" begins with this one's: a
  # star goes on over slashes, a question mark is one character, and so each of these is
  # as long as one of ours and no longer. After a name AWS adds a dash and six characters
  # of its own; of one that is not there yet it has the name alone.
  # https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html
  secret_arns = [for name in ["server", "server-??????", "access", "access-??????", "access/???", "access/???-??????"] :
    "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${var.secret}/${name}"
  ]
}

data "aws_iam_policy_document" "gateway" {
  statement {
    sid       = "ReadTheSecret"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = local.secret_arns
  }

  dynamic "statement" {
    for_each = var.secret_kms_key_arn == null ? [] : [var.secret_kms_key_arn]
    content {
      sid       = "DecryptTheSecret"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${local.region}.amazonaws.com"]
      }
      condition {
        test     = "StringLike"
        variable = "kms:EncryptionContext:SecretARN"
        values   = local.secret_arns
      }
    }
  }

  # The only star: AWS has no resource level for these two.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
  statement {
    sid       = "SeeTheGroups"
    actions   = ["ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules"]
    resources = ["*"]
  }

  statement {
    sid       = "CloseSSH"
    actions   = ["ec2:RevokeSecurityGroupIngress"]
    resources = ["arn:${local.partition}:ec2:${local.region}:${local.account}:security-group/*"]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/vpnami:consent"
      values   = ["seal-ssh"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/vpnami:launch"
      values   = [var.name]
    }
  }

  statement {
    sid       = "SayHowItIs"
    actions   = ["ec2:CreateTags"]
    resources = ["arn:${local.partition}:ec2:${local.region}:${local.account}:instance/*"]
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/vpnami:launch"
      values   = [var.name]
    }
    condition {
      test     = "ForAllValues:StringLike"
      variable = "aws:TagKeys"
      values   = ["vpnami:status*"]
    }
    # "For all values" is true of none.
    condition {
      test     = "Null"
      variable = "aws:TagKeys"
      values   = ["false"]
    }
  }
}

resource "aws_iam_role" "gateway" {
  name                 = "${var.name}-gateway"
  description          = "vpnami ${var.name}: what a gateway may do"
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  permissions_boundary = var.permissions_boundary
  tags                 = local.tags
}

resource "aws_iam_role_policy" "gateway" {
  name   = "gateway"
  role   = aws_iam_role.gateway.name
  policy = data.aws_iam_policy_document.gateway.json
}

resource "aws_iam_instance_profile" "gateway" {
  name = "${var.name}-gateway"
  role = aws_iam_role.gateway.name
  tags = local.tags
}

# What the operator's desk needs for "vpnami-pki publish"; to be attached to her
# role or permission set. The gateways have none of it but the reading.

data "aws_iam_policy_document" "publisher" {
  statement {
    sid       = "Publish"
    actions   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue", "secretsmanager:CreateSecret"]
    resources = local.secret_arns
  }

  dynamic "statement" {
    for_each = var.secret_kms_key_arn == null ? [] : [var.secret_kms_key_arn]
    content {
      sid       = "EncryptTheSecret"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${local.region}.amazonaws.com"]
      }
      condition {
        test     = "StringLike"
        variable = "kms:EncryptionContext:SecretARN"
        values   = local.secret_arns
      }
    }
  }
}

resource "aws_iam_policy" "publisher" {
  name        = "${var.name}-publisher"
  description = "vpnami ${var.name}: what vpnami-pki publish needs"
  policy      = data.aws_iam_policy_document.publisher.json
  tags        = local.tags
}
