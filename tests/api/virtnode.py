# SPDX-License-Identifier: Apache-2.0
"""Nodes of libvirt's test driver: everything is in its memory, and gone with the daemon that has it."""
import os

POOL = """  <pool type='dir'>
    <name>horcrux</name>
    <uuid>dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566</uuid>
    <capacity unit='bytes'>107374182400</capacity>
    <allocation unit='bytes'>0</allocation>
    <available unit='bytes'>107374182400</available>
    <source/>
    <target><path>/pool</path></target>
{volumes}  </pool>
"""

VOLUME = """    <volume>
      <name>{name}</name>
      <capacity>1048576</capacity>
      <source/>
      <target><path>/pool/{name}</path><format type='{format}'/></target>
    </volume>
"""

NETWORK = """  <network>
    <name>default</name>
    <uuid>ef861801-45b9-11cb-88e3-afbfe5370493</uuid>
    <forward mode='nat'/>
    <bridge name='virbr0'/>
    <ip address='192.168.122.1' netmask='255.255.255.0'/>
  </network>
"""

DOMAIN = """  <domain type='test'>
    <name>{name}</name>
    <uuid>{uuid}</uuid>
    <memory>65536</memory>
    <vcpu>1</vcpu>
    <os><type arch='x86_64'>hvm</type></os>
    <devices>{hostdevs}</devices>
  </domain>
"""

HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='no'><source>
      <address domain='0x{0}' bus='0x{1}' slot='0x{2}' function='0x{3}'/></source></hostdev>"""


def hostdev(address):
    domain, bus, rest = address.split(":")
    return HOSTDEV.format(domain, bus, *rest.split("."))


def node(folder, volumes=(), pool=True, network=True, domains=()):
    """The URI of a node with the pool and these files in it ({name: format}), the network default, and
    running domains of others: (name, addresses)."""
    text = "<node>\n  <cpu><mhz>2000</mhz><model>i686</model><active>8</active><nodes>1</nodes>" \
           "<sockets>1</sockets><cores>8</cores><threads>1</threads></cpu><memory>8388608</memory>\n"
    if network:
        text += NETWORK
    if pool:
        text += POOL.format(volumes="".join(VOLUME.format(name=n, format=f) for n, f in dict(volumes).items()))
    for i, (name, addresses) in enumerate(domains):
        text += DOMAIN.format(name=name, uuid=f"6695eb01-f6a4-8304-79aa-97f2502e19{i:02x}",
                              hostdevs="".join(hostdev(a) for a in addresses))
    path = os.path.join(str(folder), "node.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "</node>\n")
    return f"test://{path}"
