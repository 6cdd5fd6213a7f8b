# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# What a call needs a right for, as AWS has it, where moto 5.2.1 with its IAM
# enforcement on asks for less or for something else. What a policy allows is moto's
# to judge, but for one condition: ec2:CreateAction, by which a policy tells tags of
# what is being made from tags of what is there. No other condition counts.

import contextvars
import json
import re

import moto.iam.access_control as access_control
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import AccessDeniedError, JsonRESTError
from moto.ec2.responses import EC2Response
from moto.events.responses import EventsHandler
from moto.iam.models import iam_backends
from moto.iam.responses import IamResponse
from moto.logs.responses import LogsResponse
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.ssm.responses import SimpleSystemManagerResponse


# moto judges a call by the resource that a service names with _determine_resource,
# and asks for "*" where a service names none, which no policy with a resource of
# its own allows. Several are judged one by one.


def secret(self):
    name = self._get_param("SecretId") or self._get_param("Name")
    if not name:
        return "*"
    if name.startswith("arn:"):
        return name
    found = self.backend.secrets.get(name)
    if found:
        return found.arn
    return f"arn:{self.partition}:secretsmanager:{self.region}:{self.current_account}:secret:{name}"


KINDS = {
    "ami": "image",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "i": "instance",
    "igw": "internet-gateway",
    "rtb": "route-table",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
}


def named(self, kind, name="*"):
    # Images and snapshots have no account in their name.
    owner = "" if kind in ("image", "snapshot") else self.current_account
    return f"arn:{self.partition}:ec2:{self.region}:{owner}:{kind}/{name}"


def compute(self):
    action = self._get_action()
    made = []
    if action in ("AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"):
        ids = [self._get_param("GroupId")]
    elif action in ("CreateTags", "DeleteTags"):
        ids = self._get_param("Resources", [])
    elif action == "CreateImage":
        ids = [self._get_param("InstanceId")]
        made = [named(self, "image"), named(self, "snapshot")]
    elif action == "CopyImage":
        ids = [self._get_param("SourceImageId")]
        made = [named(self, "snapshot")]
    elif action == "ModifyInstanceAttribute":
        ids = [self._get_param("InstanceId")]
    elif action in (
        "DeregisterImage",
        "EnableImageDeprecation",
        "EnableImageDeregistrationProtection",
        "ModifyImageAttribute",
    ):
        ids = [self._get_param("ImageId")]
    elif action == "DeleteSnapshot":
        ids = [self._get_param("SnapshotId")]
    else:
        return "*"
    kinds = [(KINDS.get(str(i).split("-")[0]), i) for i in ids]
    if not ids or not all(kind for kind, _ in kinds):
        return "*"
    return [named(self, kind, i) for kind, i in kinds] + made


def identity(self):
    for parameter, kind in (("InstanceProfileName", "instance-profile"), ("RoleName", "role"), ("PolicyName", "policy")):
        name = self._get_param(parameter)
        if name:
            return f"arn:{self.partition}:iam::{self.current_account}:{kind}/{name}"
    return self._get_param("PolicyArn") or "*"


def rule(self):
    name = self._get_param("Name") or self._get_param("Rule")
    if not name:
        return self._get_param("ResourceARN") or "*"
    return f"arn:{self.partition}:events:{self.region}:{self.current_account}:rule/{name}"


def alarm(self):
    names = self._get_param("AlarmNames") or []
    name = self._get_param("AlarmName") or (names[0] if names else None)
    if not name:
        return self._get_param("ResourceARN") or "*"
    return f"arn:{self.partition}:cloudwatch:{self.region}:{self.current_account}:alarm:{name}"


def log_group(self):
    name = self._get_param("logGroupName")
    if not name:
        return self._get_param("resourceArn") or "*"
    return f"arn:{self.partition}:logs:{self.region}:{self.current_account}:log-group:{name}"


def manager(self):
    action = self._get_action()
    if action == "StartSession":
        document = self._get_param("DocumentName")
        return [
            f"arn:{self.partition}:ec2:{self.region}:{self.current_account}:instance/{self._get_param('Target')}",
            f"arn:{self.partition}:ssm:{self.region}::document/{document}",
        ]
    if action == "TerminateSession":
        return f"arn:{self.partition}:ssm:{self.region}:{self.current_account}:session/{self._get_param('SessionId')}"
    name = self._get_param("Name") or self._get_param("Path")
    if not name:
        return "*"
    return f"arn:{self.partition}:ssm:{self.region}:{self.current_account}:parameter{name}"


CloudWatchResponse._determine_resource = alarm
EventsHandler._determine_resource = rule
IamResponse._determine_resource = identity
LogsResponse._determine_resource = log_group
SecretsManagerResponse._determine_resource = secret
SimpleSystemManagerResponse._determine_resource = manager
EC2Response._determine_resource = compute


# AWS asks for further rights where a call also tags what it makes or gives a role
# away, which the reference of each service says ("dependent actions"):
# https://docs.aws.amazon.com/service-authorization/latest/reference/

TAGGING = {
    ("cloudwatch", "PutMetricAlarm"): "cloudwatch:TagResource",
    ("events", "PutRule"): "events:TagResource",
    ("iam", "CreateInstanceProfile"): "iam:TagInstanceProfile",
    ("iam", "CreatePolicy"): "iam:TagPolicy",
    ("iam", "CreateRole"): "iam:TagRole",
    ("logs", "CreateLogGroup"): "logs:TagResource",
    ("secretsmanager", "CreateSecret"): "secretsmanager:TagResource",
}


def besides(self, resource):
    """Yields (action, resource) of what a call needs beside the right to itself."""
    action = self._get_action()
    service = self.service_name
    tagging = TAGGING.get((service, action))
    if tagging and (self._get_param("Tags") or self._get_param("tags")):
        yield tagging, resource
    if service == "ec2":
        for specification in self._get_param("TagSpecifications") or []:
            if specification.get("Tags"):
                yield "ec2:CreateTags", named(self, specification["ResourceType"])
    roles = []
    if (service, action) == ("iam", "AddRoleToInstanceProfile"):
        roles = [self._get_param("RoleName")]
    elif (service, action) == ("ec2", "RunInstances"):
        profile = self._get_param("IamInstanceProfile") or {}
        name = profile.get("Name") or (profile.get("Arn") or "").split("/")[-1]
        if name:
            backend = iam_backends[self.current_account][self.partition]
            roles = [role.name for role in backend.get_instance_profile(name).roles]
    for role in roles:
        yield "iam:PassRole", f"arn:{self.partition}:iam::{self.current_account}:role/{role}"


# What is judged beside the call itself, and for the sake of which call.
instead = contextvars.ContextVar("instead", default=(None, None))
judge = ActionAuthenticatorMixin._authenticate_and_authorize_normal_action


def with_all_it_needs(self, resource="*"):
    for each in resource if isinstance(resource, list) else [resource]:
        judge(self, each)
    if not hasattr(self, "_determine_resource"):
        return
    for action, each in besides(self, resource):
        before = instead.set((action, self._get_action()))
        try:
            judge(self, each)
        finally:
            instead.reset(before)


ActionAuthenticatorMixin._authenticate_and_authorize_normal_action = with_all_it_needs


# CloudWatch signs its calls with an older name than its rights have.

check_action = access_control.IAMRequestBase.check_action_permitted


def by_its_name(self, resource):
    action, _ = instead.get()
    if action:
        self._action = action
    elif self._service == "monitoring":
        self._action = self._action.replace("monitoring:", "cloudwatch:", 1)
    return check_action(self, resource)


access_control.IAMRequestBase.check_action_permitted = by_its_name


# A star stands for anything, slashes as well, a question mark for one character, and all
# else for itself; moto takes it for a regular expression with stars.


def matches(pattern, text):
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(c) or re.escape(c) for c in pattern), text, re.DOTALL)


access_control.IAMPolicyStatement._match = staticmethod(matches)


# A statement about tags of what is being made allows none of what is there.

permitted = access_control.IAMPolicyStatement.is_action_permitted


def if_it_is_being_made(self, action, *args, **kwargs):
    only = self._statement.get("Condition", {}).get("StringEquals", {}).get("ec2:CreateAction")
    _, making = instead.get()
    if only and making not in ([only] if isinstance(only, str) else only):
        return access_control.PermissionResult.NEUTRAL
    return permitted(self, action, *args, **kwargs)


access_control.IAMPolicyStatement.is_action_permitted = if_it_is_being_made


# Whoever is refused is told so in the form of the service, or no client of it reads
# it; moto has EC2's for all.


def refuse(self):
    error = AccessDeniedError(user_arn=self._access_key.arn, action=self._action)
    if self._service in ("events", "logs", "secretsmanager", "ssm"):
        raise JsonRESTError("AccessDeniedException", error.message)
    if self._service != "ec2":
        error.description = f"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{error.message}</Message></Error></ErrorResponse>"
    raise error


access_control.IAMRequest._raise_access_denied = refuse


# A role trusts EC2, which assumes it for an instance; moto knows no services that
# do, so that whoever asks on the lab's behalf is taken for EC2.


def trusts_ec2(self, role_arn):
    document = json.loads(self.backend.get_role_by_arn(role_arn).assume_role_policy_document)
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        services = statement.get("Principal", {}).get("Service", [])
        if "ec2.amazonaws.com" in ([services] if isinstance(services, str) else services):
            return statement["Effect"] == "Allow"
    return False


access_control.IAMRequestBase._check_role_trust_relationship = trusts_ec2
