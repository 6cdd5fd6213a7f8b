# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
#
# What moto 5.2.1 lacks for a rehearsal. Python loads this module by its name at its
# start, wherever moto_server comes from: the lab puts the folder on PYTHONPATH. Each
# part stands in for something that AWS does and moto leaves out; rights.py has what
# concerns rights.

import itertools

import moto.ec2.models.amis as amis
import moto.ec2.models.elastic_ip_addresses as addresses
import moto.ec2.models.elastic_network_interfaces as interfaces
import moto.ec2.models.instances as instances
import moto.ec2.models.launch_templates as templates
import moto.iam.models as iam
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response
from moto.iam.exceptions import NotFoundException
from moto.ssm.responses import SimpleSystemManagerResponse

import rights  # noqa: F401


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


# An image is of EBS, has the disks of the machine that it was made of, and its
# snapshot the tags that were asked for; moto knows one disk, and answers 500 to tags
# of a snapshot. A machine has the disks of its image besides those it asks for.

create_image = amis.AmiBackend.create_image


def with_disks_and_tags(self, instance_id, name, description, tag_specifications):
    snapshot = [s for s in tag_specifications if s["ResourceType"] == "snapshot"]
    rest = [s for s in tag_specifications if s["ResourceType"] != "snapshot"]
    made = create_image(self, instance_id, name, description, rest)
    made.root_device_type = "ebs"
    made.further_disks = {
        path: disk
        for path, disk in self.get_instance(instance_id).get_block_device_mapping
        if path != made.root_device_name
    }
    for specification in snapshot:
        for tag in specification["Tags"]:
            made.ebs_snapshot.add_tag(tag["Key"], tag["Value"])
    return made


amis.AmiBackend.create_image = with_disks_and_tags

run_with_its_own_disks = instances.InstanceBackend.run_instances


def with_disks_of_its_image(self, image_id, *args, **kwargs):
    made = run_with_its_own_disks(self, image_id, *args, **kwargs)
    disks = getattr(self.amis.get(image_id), "further_disks", {})
    for instance in made.instances:
        for path, disk in disks.items():
            if path not in instance.block_device_mapping:
                instance.add_block_device(disk.size, path, None, False, disk.delete_on_termination, None, None)
    return made


instances.InstanceBackend.run_instances = with_disks_of_its_image


# A copy has the tags of its image where that is asked for, and its snapshot none; moto
# gives it none.

copy_image = EC2Response.copy_image


def with_tags(self):
    answer = copy_image(self)
    if self._get_param("CopyImageTags"):
        source = ec2_backends[self.current_account][self._get_param("SourceRegion")].amis[self._get_param("SourceImageId")]
        self.ec2_backend.amis[answer.result["ImageId"]].add_tags({tag["key"]: tag["value"] for tag in source.get_tags()})
    return answer


EC2Response.copy_image = with_tags


# A role that an instance profile does not have is not removed from it; moto answers 500.

remove_role = iam.IAMBackend.remove_role_from_instance_profile


def if_it_has_it(self, profile_name, role_name):
    if self.get_role(role_name) not in self.get_instance_profile(profile_name).roles:
        raise NotFoundException(f"The role with name {role_name} cannot be found.")
    remove_role(self, profile_name, role_name)


iam.IAMBackend.remove_role_from_instance_profile = if_it_has_it


# Calls that moto does not have.


def image_of(self):
    return self.ec2_backend.describe_images([self._get_param("ImageId")])[0]


def enable_image_deprecation(self):
    image_of(self).deprecation_time = self._get_param("DeprecateAt").strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return ActionResult({"Return": True})


def disable_image_deprecation(self):
    image_of(self).deprecation_time = None
    return ActionResult({"Return": True})


def enable_image_deregistration_protection(self):
    image_of(self).deregistration_protection = "enabled-without-cooldown"
    return ActionResult({"Return": "enabled-without-cooldown"})


def start_session(self):
    name = f"operator-{next(numbers)}"
    return ActionResult({"SessionId": name, "TokenValue": "token", "StreamUrl": f"wss://localhost/{name}"})


def terminate_session(self):
    return ActionResult({"SessionId": self._get_param("SessionId")})


EC2Response.enable_image_deprecation = enable_image_deprecation
EC2Response.disable_image_deprecation = disable_image_deprecation
EC2Response.enable_image_deregistration_protection = enable_image_deregistration_protection
SimpleSystemManagerResponse.start_session = start_session
SimpleSystemManagerResponse.terminate_session = terminate_session
