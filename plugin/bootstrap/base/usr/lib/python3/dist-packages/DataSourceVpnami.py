# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
"""cloud-init's data source of EC2, asked after the network is up and not before.

cloud-init's own list for EC2 has a second entry, for the stage before the
network: it runs a DHCP client, asks the metadata service, and takes the address
away again. It has to where the metadata says how the network is configured. In
this image systemd-networkd knows that already, and comes up at the same time: an
address that two programs set and one takes away is lost.
"""

from cloudinit import sources
from cloudinit.sources.DataSourceEc2 import DataSourceEc2

AFTER_NETWORK = (sources.DEP_FILESYSTEM, sources.DEP_NETWORK)


def get_datasource_list(depends):
    return sources.list_from_depends(depends, [(DataSourceEc2, AFTER_NETWORK)])
