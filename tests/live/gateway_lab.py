# SPDX-License-Identifier: MIT
"""The example gateway between two networks: what all tests of it begin with.

    lan 192.0.2.1, fd00:1::1 --- eth0 [gateway] eth1 --- wan 198.51.100.2, fd00:2::2

    with GatewayLab("ping", program) as lab:
        gateway = lab.gateway(RULES)          # starts it with this configuration behind the interfaces
        lab.check(lab.lan.ping("198.51.100.2") == 3, "ping")
"""
import os, subprocess, sys
import lib

LAN, GATEWAY_LAN, WAN, GATEWAY_WAN = "192.0.2.1", "192.0.2.254", "198.51.100.2", "198.51.100.1"
LAN6, GATEWAY_LAN6, WAN6, GATEWAY_WAN6 = "fd00:1::1", "fd00:1::fe", "fd00:2::2", "fd00:2::1"

INTERFACES = f"""
interface lan {{
  device "af_packet:eth0"
  address {GATEWAY_LAN}/24, {GATEWAY_LAN6}/64
}}
interface wan {{
  device "af_packet:eth1"
  address {GATEWAY_WAN}/24, {GATEWAY_WAN6}/64
}}
metrics 127.0.0.1:9100
"""


def interpreter_with_ftp():
    """A Python that has an FTP server; skips the test where there is none."""
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import pyftpdlib"], capture_output=True).returncode == 0:
            return python
    lib.skip("pyftpdlib is not installed: python3-pyftpdlib")


class GatewayLab(lib.Lab):
    """Two hosts, each a kernel in a namespace of its own, and the gateway between them in a third, whose kernel is
    silent. The hosts have routes to each other unless `strangers` is set: then wan knows its own network only."""

    def __init__(self, program, *tools, mtu=(1500, 1500), strangers=False):
        super().__init__("ping", *tools)
        self.program, self.mtu, self.strangers = program, mtu, strangers

    def __enter__(self):
        super().__enter__()
        try:
            self.middle = self.namespace("gateway", quiet=True)
            self.lan, self.wan = self.namespace("lan"), self.namespace("wan")
            self.wire(self.lan, "eth0", self.middle, "eth0", self.mtu[0])
            self.wire(self.wan, "eth0", self.middle, "eth1", self.mtu[1])
            self.lan.address("eth0", f"{LAN}/24", f"{LAN6}/64")
            self.wan.address("eth0", f"{WAN}/24", f"{WAN6}/64")
            self.lan.ip("route", "add", "default", "via", GATEWAY_LAN)
            self.lan.ip("-6", "route", "add", "default", "via", GATEWAY_LAN6)
            if not self.strangers:
                self.wan.ip("route", "add", "default", "via", GATEWAY_WAN)
                self.wan.ip("-6", "route", "add", "default", "via", GATEWAY_WAN6)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    @property
    def file(self):
        return f"{self.directory}/gateway.conf"

    def configure(self, rules, interfaces=INTERFACES):
        with open(self.file, "w") as f:
            f.write(interfaces + rules)

    def gateway(self, rules="", *options, interfaces=INTERFACES):
        """Starts the gateway."""
        self.configure(rules, interfaces)
        return self.middle.start([self.program, *options, self.file], wait="forwarding between 2 interfaces")

    def metrics(self):
        """What it tells Prometheus: {'gateway_packets_total{interface="lan",...}': 5}."""
        said = self.middle.run("curl", "-sS", "--max-time", 5, "http://127.0.0.1:9100/metrics")
        return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in said.splitlines() if line[:1] != "#"}

    def dropped(self):
        """Its drops by reason, those that are not 0."""
        return {name.split('"')[1]: n for name, n in self.metrics().items() if name.startswith("gateway_dropped") and n}
