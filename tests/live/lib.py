#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real peers for tests: network namespaces, wires between them, programs in them, and what all of it counted.

    import lib

    with lib.Lab("ping", "curl") as lab:                      # skips (77, one line) without root or one of these tools
        left, right = lab.namespace("left"), lab.namespace("right")
        lab.wire(left, "eth0", right, "eth0")                 # a veth pair, both ends up
        left.address("eth0", "10.0.0.1/24", "fd00::1/64")
        right.address("eth0", "10.0.0.2/24", "fd00::2/64")
        run = left.start(["bridge", "af_packet:eth0"], wait="forwarding")
        lab.check(right.ping("10.0.0.1") == 3, "no answer")   # goes on, and the test fails at its end

Namespaces are called runnel-PID-NAME. They, what is in them and the programs that were started are gone when the block
ends, however it ends; what a test that was killed left behind is swept up by the next one. Addresses do not wait for
duplicate detection, and where `quiet` is given there is no IPv6 at all, so that nobody sends but the test.

As a program: run something in a namespace that has wires to a second one, for tests that are programs.

    lib.py [--wires 1] [--mtu 1500] [--quiet] PROGRAM [ARGUMENT...]

The ends in the first namespace are eth0, eth1...; in the second one, whose name is in $RUNNEL_PEER, peer0, peer1...
"""
import contextlib, ctypes, fcntl, hashlib, json, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

SKIPPED = 77
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def skip(why):
    """Ends the test as one that was not run."""
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def need(*tools):
    """Skips the test without root, or without one of the programs."""
    if os.geteuid() != 0:
        skip("network namespaces need root")
    for tool in ("ip",) + tools:
        if shutil.which(tool) is None:
            skip(f"{tool} is not installed")
    probe = f"runnel-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode != 0:
        skip(f"no network namespace can be made here: {made.stderr.strip()}")
    subprocess.run(["ip", "netns", "del", probe], check=True)


def _dies_with_the_test():
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    """A program that runs. What it says is kept, standard output and error together."""

    def __init__(self, command, ready=None, seconds=10):
        self.command = [str(part) for part in command]
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, preexec_fn=_dies_with_the_test,
                                        start_new_session=True)
        self.pid = self.process.pid
        self._said, self._news = bytearray(), threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if ready is not None:
            self.wait_for(ready, seconds)

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 1 << 16):
            with self._news:
                self._said += data
                self._news.notify_all()
        with self._news:
            self._reader = None
            self._news.notify_all()

    @property
    def said(self):
        """Everything so far."""
        with self._news:
            return self._said.decode(errors="replace")

    def wait_for(self, pattern, seconds=10):
        """The match of the pattern in what it said; an error when it does not come, or the program ends before."""
        end = time.monotonic() + seconds
        with self._news:
            while True:
                found = re.search(pattern, self._said.decode(errors="replace"), re.M)
                if found:
                    return found
                left = end - time.monotonic()
                if left <= 0 or self._reader is None:
                    why = "ended" if self._reader is None else f"did not within {seconds} s"
                    raise AssertionError(f"{' '.join(self.command)} should say '{pattern}', {why}:\n{self._said.decode(errors='replace')}")
                self._news.wait(left)

    def running(self):
        return self.process.poll() is None

    def stop(self, with_signal=signal.SIGINT, seconds=10):
        """Ctrl-C, or another signal. Its exit status; an error when it does not end."""
        if self.running():
            self.process.send_signal(with_signal)
        return self.wait(seconds)

    def wait(self, seconds=30):
        """Waits for its end. Its exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{' '.join(self.command)} does not end:\n{self.said}") from None
        reader = self._reader
        if reader is not None:
            reader.join(5)
        return status

    def kill(self):
        """kill -9, for what it has started as well."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def cpu_seconds(self):
        """Processor time that all of its threads have used."""
        total = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def cpu_share(self, seconds):
        """Which part of one core it uses, measured for so long."""
        before, start = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - start)

    def open_files(self):
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Namespace:
    """A network namespace. Commands are lists."""

    def __init__(self, lab, name, quiet):
        self.lab, self.name = lab, name
        subprocess.run(["ip", "netns", "add", name], check=True)
        with self.entered():
            for where in ("all", "default"):
                self._set(f"ipv6/conf/{where}/accept_dad", 0)
                self._set(f"ipv6/conf/{where}/router_solicitations", 0)
        if quiet:
            self.hush()
        self.ip("link", "set", "lo", "up")

    def hush(self):
        """From now on the kernel says nothing by itself: it is without IPv6."""
        with self.entered():
            for where in ("all", "default"):
                self._set(f"ipv6/conf/{where}/disable_ipv6", 1)

    @staticmethod
    def _set(path, value):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/sys/net/{path}", "w") as f:
            f.write(str(value))

    @contextlib.contextmanager
    def entered(self):
        """This thread is in the namespace: sockets that it makes belong there for ever."""
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.name}") as inside:
            if libc.setns(inside.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(before.fileno(), CLONE_NEWNET)

    def command(self, command):
        return ["ip", "netns", "exec", self.name] + [str(part) for part in command]

    def run(self, *command, seconds=60, check=True):
        """Runs a command to its end: what it said on standard output."""
        done = subprocess.run(self.command(command), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, command, wait=None, seconds=10):
        """Starts a program, and waits until it says a line with the pattern."""
        program = Program(self.command(command), wait, seconds)
        self.lab.programs.append(program)
        return program

    def ip(self, *arguments):
        return subprocess.run(["ip", "-n", self.name, *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    def address(self, interface, *addresses):
        for address in addresses:
            self.ip("address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))

    def tap(self, interface, mtu=1500):
        """A persistent TAP interface without a program behind it, up."""
        self.ip("tuntap", "add", "dev", interface, "mode", "tap")
        self.ip("link", "set", interface, "mtu", mtu, "up")

    def checksum_offload(self, interface, on):
        """Whether the kernel leaves transport checksums to the interface. Without it frames are whole on a veth, as they
        are on a wire; with it XDP, and who reads raw frames, sees them with the pseudo-header's sum only."""
        value = ctypes.create_string_buffer(struct.pack("=II", 0x17, int(on)))  # ETHTOOL_STXCSUM
        with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, 0x8946, struct.pack("16sP16x", interface.encode(), ctypes.addressof(value)))  # SIOCETHTOOL

    def interfaces(self):
        return {link["ifname"]: link for link in json.loads(self.ip("-s", "-d", "-j", "link", "show"))}

    def mac(self, interface):
        return self.interfaces()[interface]["address"]

    def counters(self, interface):
        """{"rx": {"packets", "bytes", "errors", "dropped", ...}, "tx": ...}, as the kernel counted."""
        return self.interfaces()[interface]["stats64"]

    def xdp_program(self, interface):
        """What is attached there, as `ip` shows it; None without."""
        return self.interfaces()[interface].get("xdp")

    def raw_socket(self, interface, seconds=1.0):
        """Whole frames, in and out, VLAN tags put back by `receive_frame`."""
        with self.entered():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
        s.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
        s.bind((interface, 3))
        s.settimeout(seconds)
        return s

    def ping(self, address, count=3, size=56, interval=0.05, wait=2):
        """How many answers came."""
        said = self.run("ping", "-n", "-c", count, "-s", size, "-i", interval, "-W", wait, address, check=False)
        return int(re.search(r"(\d+) received", said).group(1)) if "received" in said else 0

    def fetch(self, url, seconds=60):
        """Fetches with curl: the SHA-256 of what came, and how many bytes."""
        got = subprocess.Popen(self.command(["curl", "-sS", "-g", "--max-time", seconds, url]), stdout=subprocess.PIPE)
        digest, size = hashlib.sha256(), 0
        while data := got.stdout.read(1 << 20):
            digest.update(data)
            size += len(data)
        got.wait()
        return digest.hexdigest(), size

    def serve(self, address, directory, port=8080):
        """An HTTP server for a directory."""
        return self.start([sys.executable, "-u", "-m", "http.server", port, "--bind", address, "-d", directory],
                          wait="Serving HTTP")

    def iperf3_server(self):
        return self.start(["iperf3", "-s", "--forceflush"], wait="listening")

    def iperf3(self, address, *options, seconds=2):
        """Runs a client, for so long or, with None, as its options say: what it measured, the "end" of its report."""
        if seconds is not None:
            options = ("-t", seconds, *options)
        for tries in range(20):
            report = json.loads(self.run("iperf3", "-c", address, "-J", *options, seconds=120, check=False))
            if "error" not in report:
                return report["end"]
            # The server does not listen for a moment, between one test and the next, or resets who came too early.
            if not re.search("refused|busy|reset", report["error"]):
                break
            time.sleep(0.1)
        raise AssertionError(f"iperf3 {address} {' '.join(map(str, options))}: {report['error']}")


class Lab:
    """What a test made, and what it found wrong. A context manager: all is gone at its end."""

    def __init__(self, *tools):
        need(*tools)
        self.namespaces, self.programs, self.wrong = [], [], []
        self.directory = tempfile.mkdtemp(prefix="runnel-")

    def __enter__(self):
        _sweep()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda n, _: sys.exit(128 + n))  # with the end of the block
        return self

    def __exit__(self, kind, value, trace):
        if kind is AssertionError:
            self.wrong.append(str(value))
        for program in self.programs:
            program.kill()
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "del", namespace.name], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)
        for what in self.wrong:
            print(f"FAILED: {what}", flush=True)
        if kind is AssertionError or (kind is None and self.wrong):
            sys.exit(1)

    def check(self, holds, what):
        """Notes what is wrong. The test goes on, and fails at the end of the block."""
        if not holds:
            print(f"wrong: {what}", flush=True)
            self.wrong.append(what)
        return bool(holds)

    def namespace(self, name, quiet=False):
        namespace = Namespace(self, f"runnel-{os.getpid()}-{name}", quiet)
        self.namespaces.append(namespace)
        return namespace

    def wire(self, a, a_name, b, b_name, mtu=1500, queues=1):
        """A veth pair between two namespaces, both ends up. Their MAC addresses are made from their names' order."""
        subprocess.run(["ip", "-n", a.name, "link", "add", a_name, "numrxqueues", str(queues), "numtxqueues", str(queues),
                        "type", "veth", "peer", "name", b_name, "numrxqueues", str(queues), "numtxqueues", str(queues),
                        "netns", b.name], check=True)
        for namespace, name in ((a, a_name), (b, b_name)):
            namespace.ip("link", "set", name, "mtu", mtu, "up")

    def random_file(self, name, size):
        """A file in `directory` with so many random bytes: their SHA-256."""
        digest = hashlib.sha256()
        with open(f"{self.directory}/{name}", "wb") as f:
            while size > 0:
                data = os.urandom(min(size, 1 << 20))
                digest.update(data)
                f.write(data)
                size -= len(data)
        return digest.hexdigest()


def receive_frame(s):
    """The next frame of a raw socket as it was on the wire, and whether this host sent it; None when none comes."""
    try:
        data, ancillary, _, address = s.recvmsg(1 << 17, 256)
    except (TimeoutError, BlockingIOError):
        return None
    for level, kind, aux in ancillary:
        if level == 263 and kind == 8:
            status, tci, tpid = struct.unpack_from("=I12xHH", aux)
            if status & 0x10:  # TP_STATUS_VLAN_VALID: the tag was taken off
                data = data[:12] + struct.pack(">HH", tpid if status & 0x40 else 0x8100, tci) + data[12:]
    return data, address[2] == socket.PACKET_OUTGOING


def frames_until(s, seconds, enough=lambda frames: False):
    """What arrives in the next `seconds`, what this host sent left out; ends when there is enough."""
    frames, end = [], time.monotonic() + seconds
    while not enough(frames) and (left := end - time.monotonic()) > 0:
        s.settimeout(left)
        got = receive_frame(s)
        if got and not got[1]:
            frames.append(got[0])
    return frames


def mac_bytes(address):
    return bytes.fromhex(address.replace(":", ""))


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def udp_frame(to, source, src="10.0.0.1", dst="10.0.0.2", sport=1000, dport=2000, payload=b"", vlan=None, protocol=17):
    """An Ethernet frame with UDP over IPv4, its checksums right; with a VLAN tag if wanted."""
    addresses = socket.inet_aton(src) + socket.inet_aton(dst)
    udp = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
    udp = udp[:6] + struct.pack(">H", checksum(addresses + struct.pack(">HH", 17, len(udp)) + udp) or 0xffff) + udp[8:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, protocol, 0) + addresses
    ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
    tag = struct.pack(">HH", 0x8100, vlan) if vlan is not None else b""
    return (mac_bytes(to) + mac_bytes(source) + tag + b"\x08\x00" + ip + udp).ljust(60, b"\0")


def _sweep():
    """Namespaces of tests that were killed."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        found = re.fullmatch(r"runnel-(\d+)-.*", name)
        if found and not os.path.exists(f"/proc/{found.group(1)}"):
            subprocess.run(["ip", "netns", "del", name], check=False)


def main(arguments):
    wires, mtu, quiet = 1, 1500, False
    while arguments and arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option == "--quiet":
            quiet = True
        elif option in ("--wires", "--mtu") and arguments:
            value = int(arguments.pop(0))
            wires, mtu = (value, mtu) if option == "--wires" else (wires, value)
        else:
            sys.exit(__doc__)
    if not arguments:
        sys.exit(__doc__)
    with Lab() as lab:
        here, peer = lab.namespace("here", quiet), lab.namespace("peer", quiet)
        for i in range(wires):
            lab.wire(here, f"eth{i}", peer, f"peer{i}", mtu)
            here.address(f"eth{i}", f"10.0.{i}.1/24", *([] if quiet else [f"fd00:0:0:{i:x}::1/64"]))
            peer.address(f"peer{i}", f"10.0.{i}.2/24", *([] if quiet else [f"fd00:0:0:{i:x}::2/64"]))
        os.environ["RUNNEL_PEER"] = peer.name
        run = subprocess.Popen(here.command(arguments), preexec_fn=_dies_with_the_test)
        try:
            status = run.wait()
        except BaseException:
            run.kill()
            raise
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
