# SPDX-License-Identifier: MIT
"""What the tests that compare with the kernel's forwarding have in common; the programs have kernel_path.hpp."""
import os, re, subprocess
import lib


def need_linux():
    """Skips the test on a kernel that is older than the one that it compares with."""
    kernel = tuple(int(n) for n in re.findall(r"\d+", os.uname().release)[:2])
    if kernel < (6, 18):
        lib.skip(f"Linux {kernel[0]}.{kernel[1]} does some things differently: this compares with 6.18")


def router(lab, rules):
    """A namespace that forwards everything that comes in at in0 to out0, whatever it is, with rules for nft."""
    need_linux()
    here = lab.namespace("kernel")
    with here.entered():
        for path, value in (("ipv4/ip_forward", 1), ("ipv6/conf/all/forwarding", 1), ("ipv4/conf/all/rp_filter", 0),
                            ("ipv4/conf/default/rp_filter", 0), ("ipv4/conf/all/send_redirects", 0),
                            ("ipv4/conf/default/send_redirects", 0)):
            here._set(path, value)
    here.tap("in0")
    here.tap("out0")
    here.run("tc", "qdisc", "replace", "dev", "out0", "root", "noqueue")  # nobody else sends what is forwarded
    here.address("out0", "169.254.1.1/24", "fc00::1/64")
    for gateway in ("169.254.1.2", "fc00::2"):
        here.ip("neighbour", "add", gateway, "lladdr", "02:00:00:00:00:02", "dev", "out0", "nud", "permanent")
        here.ip("route", "add", "default", "via", gateway, "dev", "out0")
    loaded = subprocess.run(here.command(["nft", "-f", "-"]), input=rules, text=True, capture_output=True)
    if loaded.returncode != 0:
        lib.skip(f"nft does not take the rules: {loaded.stderr.splitlines()[0]}")
    with here.entered():
        if not os.path.exists("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close"):
            lib.skip("this kernel has no nf_conntrack")
    return here


def listed(table):
    """The kinds of packets about which both may disagree."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), table)) as f:
        return {line.split(" -- ")[0].strip() for line in f if " -- " in line}
