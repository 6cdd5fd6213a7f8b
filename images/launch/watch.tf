# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0

# Who is told what. There is no agent in the image, and its role cannot write a
# metric or a log: what a gateway says of itself are its tags vpnami:status*. EC2
# makes an event of each change of them, which goes into a log group and, where it
# says that something is wrong, into an alarm. What a gateway cannot say, because
# it is dead or never came up, EC2's own checks and the load balancer's tell.

resource "aws_cloudwatch_log_group" "status" {
  name              = local.log_group
  retention_in_days = var.log_retention_days
  tags              = local.tags
}

# Two statements, as AWS has it: what makes a stream comes with no word of the rule that
# it is for, and a condition would keep it out.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
data "aws_iam_policy_document" "status_log" {
  statement {
    sid       = "EventsMakeStreams"
    actions   = ["logs:CreateLogStream"]
    resources = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}:*"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com", "delivery.logs.amazonaws.com"]
    }
  }
  statement {
    sid       = "EventsToLog"
    actions   = ["logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}:*"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com", "delivery.logs.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values = [for rule in concat([""], [for key in keys(local.watched) : "-${key}"]) :
        "arn:${local.partition}:events:${local.region}:${local.account}:rule/vpnami-${var.name}${rule}"
      ]
    }
  }
}

resource "aws_cloudwatch_log_resource_policy" "status" {
  count           = var.log_policy ? 1 : 0
  policy_name     = "vpnami-${var.name}"
  policy_document = data.aws_iam_policy_document.status_log.json
}

locals {
  # EventBridge may write to groups under /aws/events/.
  log_group = "/aws/events/vpnami/${var.name}"

  # The tag, what it says when all is well, and what an alarm is about.
  watched = {
    status = {
      tag  = "vpnami:status"
      good = "ready"
      what = "a gateway is not ready: its tag vpnami:status-detail tells why"
    }
    certificate = {
      tag  = "vpnami:status-certificate"
      good = "good"
      what = "a certificate is near its end, or a CRL overdue: the tag vpnami:status-certificate tells which, anew each day"
    }
    sync = {
      tag  = "vpnami:status-sync"
      good = "good"
      what = "what is published does not reach a gateway, so that who is revoked gets in: \"vpnami-firstboot status\" there, or its journal, tells why"
    }
  }

  status_event = {
    source      = ["aws.tag"]
    detail-type = ["Tag Change on Resource"]
    detail = {
      service       = ["ec2"]
      resource-type = ["instance"]
      tags          = { "vpnami:launch" = [var.name] }
    }
  }
}

resource "aws_cloudwatch_event_rule" "status" {
  name        = "vpnami-${var.name}"
  description = "vpnami ${var.name}: what the gateways say of themselves"
  event_pattern = jsonencode(merge(local.status_event, { detail = merge(local.status_event.detail, {
    changed-tag-keys = [{ prefix = "vpnami:status" }]
  }) }))
  tags = local.tags
}

resource "aws_cloudwatch_event_target" "status" {
  rule = aws_cloudwatch_event_rule.status.name
  arn  = aws_cloudwatch_log_group.status.arn
}

resource "aws_cloudwatch_event_rule" "wrong" {
  for_each    = local.watched
  name        = "vpnami-${var.name}-${each.key}"
  description = "vpnami ${var.name}: ${each.value.what}"
  event_pattern = jsonencode(merge(local.status_event, { detail = merge(local.status_event.detail, {
    changed-tag-keys = [each.value.tag]
    tags             = merge(local.status_event.detail.tags, { (each.value.tag) = [{ anything-but = [each.value.good] }] })
  }) }))
  tags = local.tags
}

# A rule without a target triggers nothing, and is not counted.
resource "aws_cloudwatch_event_target" "wrong" {
  for_each = local.watched
  rule     = aws_cloudwatch_event_rule.wrong[each.key].name
  arn      = aws_cloudwatch_log_group.status.arn
}

resource "aws_cloudwatch_metric_alarm" "wrong" {
  for_each          = local.watched
  alarm_name        = "vpnami-${var.name}-${each.key}"
  alarm_description = "${each.value.what}. It is about the change: that it is still so, the tag tells."
  namespace         = "AWS/Events"
  metric_name       = "TriggeredRules"
  dimensions        = { RuleName = aws_cloudwatch_event_rule.wrong[each.key].name }
  statistic         = "Sum"
  # Tags change within the minute of what they tell.
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "machine" {
  for_each            = local.grouped ? {} : aws_instance.gateway
  alarm_name          = "vpnami-${var.name}-machine-${each.key}"
  alarm_description   = "gateway ${each.key} (${each.value.id}) does not run: EC2's own checks"
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed"
  dimensions          = { InstanceId = each.value.id }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}

# How many are healthy each zone's node of the load balancer counts for itself, and AWS
# does not say whether those of other zones are among them: the least of these numbers
# may be less than there are slots while all is well. One that is not healthy is counted
# somewhere, however they count.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-cloudwatch-metrics.html
resource "aws_cloudwatch_metric_alarm" "slots" {
  count             = local.grouped ? 1 : 0
  alarm_name        = "vpnami-${var.name}-slots"
  alarm_description = "a gateway of a slot runs, and its daemon does not answer: the load balancer's own checks"
  namespace         = "AWS/NetworkELB"
  metric_name       = "UnHealthyHostCount"
  dimensions = {
    LoadBalancer = aws_lb.gateways[0].arn_suffix
    TargetGroup  = aws_lb_target_group.gateways[0].arn_suffix
  }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  # Nothing is counted where no machine is, which the next ones tell.
  treat_missing_data = "notBreaching"
  alarm_actions      = var.alarm_actions
  ok_actions         = var.alarm_actions
  tags               = local.tags
}

# A slot without a machine: that the other slots have theirs does not hide it. By itself
# this is not enough, for Auto Scaling has a machine in service before it answers.
resource "aws_cloudwatch_metric_alarm" "slot" {
  for_each            = aws_autoscaling_group.slot
  alarm_name          = "vpnami-${var.name}-slot-${each.key}"
  alarm_description   = "slot ${each.key} has no gateway: the activities of the Auto Scaling group ${each.value.name} tell why"
  namespace           = "AWS/AutoScaling"
  metric_name         = "GroupInServiceInstances"
  dimensions          = { AutoScalingGroupName = each.value.name }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags
}
