# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# What moto 5.2.1 lacks for a rehearsal with its IAM enforcement on. Python loads
# this module by its name at its start, wherever moto_server comes from: the lab
# puts the folder on PYTHONPATH. Each part stands in for something that AWS does
# and moto leaves out; nothing here decides what a policy allows.

import itertools
import json

import moto.ec2.models.elastic_ip_addresses as addresses
import moto.ec2.models.elastic_network_interfaces as interfaces
import moto.ec2.models.instances as instances
import moto.ec2.models.launch_templates as templates
import moto.iam.access_control as access_control
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response
from moto.events.responses import EventsHandler
from moto.iam.responses import IamResponse
from moto.logs.responses import LogsResponse
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.ssm.responses import SimpleSystemManagerResponse


# moto judges a call by the resource that a service names with _determine_resource,
# and asks for "*" where a service names none, which no policy with a resource of
# its own allows.


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


def compute(self):
    kinds = {"i": "instance", "sg": "security-group", "ami": "image", "snap": "snapshot"}
    action = self._get_action()
    if action in ("AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"):
        ids = [self._get_param("GroupId")]
    elif action in ("CreateTags", "DeleteTags"):
        ids = self._get_param("Resources", [])
    elif action in ("CreateImage", "ModifyInstanceAttribute"):
        ids = [self._get_param("InstanceId")]
    elif action in ("DeregisterImage", "ModifyImageAttribute"):
        ids = [self._get_param("ImageId")]
    elif action == "DeleteSnapshot":
        ids = [self._get_param("SnapshotId")]
    else:
        return "*"
    if not ids or not ids[0]:
        return "*"
    kind = kinds.get(ids[0].split("-")[0])
    if not kind:
        return "*"
    # Images and snapshots have no account in their name.
    owner = "" if kind in ("image", "snapshot") else self.current_account
    return f"arn:{self.partition}:ec2:{self.region}:{owner}:{kind}/{ids[0]}"


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


def parameter(self):
    name = self._get_param("Name") or self._get_param("Path")
    if not name:
        return "*"
    return f"arn:{self.partition}:ssm:{self.region}:{self.current_account}:parameter{name}"


CloudWatchResponse._determine_resource = alarm
EventsHandler._determine_resource = rule
IamResponse._determine_resource = identity
LogsResponse._determine_resource = log_group
SecretsManagerResponse._determine_resource = secret
SimpleSystemManagerResponse._determine_resource = parameter
EC2Response._determine_resource = compute


# CloudWatch signs its calls with an older name than its rights have.

check_action = access_control.IAMRequestBase.check_action_permitted


def by_its_name(self, resource):
    if self._service == "monitoring":
        self._action = self._action.replace("monitoring:", "cloudwatch:", 1)
    return check_action(self, resource)


access_control.IAMRequestBase.check_action_permitted = by_its_name


# A service that speaks JSON refuses in JSON; moto answers in XML, which no client
# of that service can read.

raise_access_denied = access_control.IAMRequest._raise_access_denied


def refuse(self):
    if self._service in ("secretsmanager", "ssm"):
        raise JsonRESTError(
            "AccessDeniedException",
            f"User: {self._access_key.arn} is not authorized to perform: {self._action}",
        )
    raise_access_denied(self)


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


# An interface may have whole networks for its addresses; moto knows of none.

interfaces.NetworkInterface.ipv4_prefixes = []
assign_addresses = EC2Response.assign_private_ip_addresses
unassign_addresses = EC2Response.unassign_private_ip_addresses


def assign(self):
    asked = self._get_param("Ipv4Prefixes", [])
    if not asked:
        return assign_addresses(self)
    interface = self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId"))
    assigned = [{"Ipv4Prefix": prefix} for prefix in asked]
    interface.ipv4_prefixes = interface.ipv4_prefixes + assigned
    return ActionResult({"NetworkInterfaceId": interface.id, "AssignedIpv4Prefixes": assigned})


def unassign(self):
    interface = self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId"))
    gone = self._get_param("Ipv4Prefixes", [])
    interface.ipv4_prefixes = [p for p in interface.ipv4_prefixes if p["Ipv4Prefix"] not in gone]
    return unassign_addresses(self)


EC2Response.assign_private_ip_addresses = assign
EC2Response.unassign_private_ip_addresses = unassign


# An instance that was launched with the groups in its interface has them; moto's
# has them on the interface alone. Nor does moto's interface get its networks then.

prep_nics = instances.Instance.prep_nics


def as_asked(self, asked, *args, **kwargs):
    prep_nics(self, asked, *args, **kwargs)
    if not self.security_groups and 0 in self.nics:
        self.security_groups = self.nics[0].group_set
    for nic in asked:
        if nic.get("Ipv4Prefixes"):
            self.nics[int(nic["DeviceIndex"])].ipv4_prefixes = nic["Ipv4Prefixes"]


instances.Instance.prep_nics = as_asked


# An interface that was there before its instance is free when that has ended.

terminate = instances.Instance.terminate


def set_free(self):
    previous = terminate(self)
    for nic in self.nics.values():
        if not nic.delete_on_termination:
            nic.instance = None
            nic.attachment_id = None
            nic.attach_time = None
            nic.device_index = None
            nic.status = "available"
    return previous


instances.Instance.terminate = set_free


# The tags of a launch template are its own; moto gives them to what is launched from
# it as well, where Terraform finds tags that nobody asked for.

create_version = templates.LaunchTemplate.create_version


def without_own_tags(self, data, description):
    tags = data.get("TagSpecifications")
    if tags:
        data["TagSpecifications"] = [t for t in tags if t.get("ResourceType") != "launch-template"]
    return create_version(self, data, description)


templates.LaunchTemplate.create_version = without_own_tags


# A public address is of the lab's internet; moto's Elastic IPs are of 127.0.0.0/8,
# which leads nowhere, and what it gives an interface is somebody's.

numbers = itertools.count(101)
addresses.random_ip = interfaces.random_public_ip = lambda: f"203.0.113.{next(numbers)}"


# A machine of an Auto Scaling group has what its launch template asks for; moto takes
# the image, the key, the user-data and the tags from there, and forgets the interface
# with its groups and its address, the role, and how the metadata service is asked.

run_instances = instances.InstanceBackend.run_instances


def as_its_template_asks(self, image_id, count, user_data, security_group_names, **kwargs):
    template = kwargs.get("launch_template")
    if not template:
        return run_instances(self, image_id, count, user_data, security_group_names, **kwargs)
    asked = self._get_template_from_args(template).data
    if not kwargs.get("nics"):
        kwargs["nics"] = [{"DeviceIndex": 0, **nic} for nic in asked.get("NetworkInterfaces", [])]
    if not kwargs.get("metadata_options"):
        kwargs["metadata_options"] = asked.get("MetadataOptions", {})
    made = run_instances(self, image_id, count, user_data, security_group_names, **kwargs)
    profile = asked.get("IamInstanceProfile", {})
    if profile:
        for instance in made.instances:
            self.associate_iam_instance_profile(
                instance_id=instance.id,
                iam_instance_profile_name=profile.get("Name"),
                iam_instance_profile_arn=profile.get("Arn"),
            )
    return made


instances.InstanceBackend.run_instances = as_its_template_asks
