"""Runs an MPI program on two ranks in two network namespaces that a link of given delay and rate connects.

    python3 mpi/slow_link.py --delay 1 --rate 1000 -- target/release/engraft-mpi train ..

Needs Linux, root, `ip` and Open MPI. The link is two TUN devices; this program carries their packets and holds each one back: a packet
leaves when the ones before it have left at the given rate, and arrives after the delay. That takes time of the cores, which the ranks
lack. `--kernel` leaves it to the kernel, whose delay (netem) many containers do not have: only the rate is limited then.
"""

import argparse
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--delay", type=float, default=1.0, help="milliseconds, in each direction")
parser.add_argument("--rate", type=float, default=1000.0, help="megabits per second, in each direction")
parser.add_argument("--mtu", type=int, default=16000, help="bytes of a packet; large ones cost this program less")
parser.add_argument("--kernel", action="store_true", help="the kernel's virtual link and its rate limit (tc, tbf), without a delay")
parser.add_argument("command", nargs="+", help="the program that mpirun starts on both sides")
options = parser.parse_args()

SIDES = {"engraft-a": "10.77.0.1", "engraft-b": "10.77.0.2"}


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def tun(name):
    """Opens a new TUN device. It stays ours when it moves to another namespace."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    without_header, tun_not_tap, set_interface = 0x1000, 0x0001, 0x400454CA
    fcntl.ioctl(device, set_interface, struct.pack("16sH22x", name.encode(), tun_not_tap | without_header))
    return device


def carry(devices):
    """Carries packets between two devices until it is ended."""
    seconds_per_byte, delay = 8 / (options.rate * 1e6), options.delay / 1e3
    # For each direction: packets with their times of arrival, and the time at which the link is free again.
    queues, free = [deque(), deque()], [0.0, 0.0]
    while True:
        now = time.monotonic()
        due = [queue[0][0] for queue in queues if queue]
        wait = max(0.0, min(due) - now) if due else None
        ready, _, _ = select.select(devices, [], [], wait)
        now = time.monotonic()
        for side, device in enumerate(devices):
            if device in ready:
                try:
                    while True:
                        packet = os.read(device, 65536)
                        free[side] = max(free[side], now) + len(packet) * seconds_per_byte
                        queues[side].append((free[side] + delay, packet))
                except BlockingIOError:
                    pass
            queue = queues[side]
            while queue and queue[0][0] <= time.monotonic():
                os.write(devices[1 - side], queue.popleft()[1])


def remove():
    for namespace in SIDES:
        subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL, check=False)


remove()
relay = None
try:
    for namespace in SIDES:
        ip("netns", "add", namespace)
    if options.kernel:
        ip("link", "add", "name", "wire", "netns", "engraft-a", "type", "veth", "peer", "name", "wire", "netns", "engraft-b")
    else:
        devices = [tun(namespace) for namespace in SIDES]
        for namespace in SIDES:
            ip("link", "set", "dev", namespace, "netns", namespace, "name", "wire")
    for namespace, address in SIDES.items():
        inside = ("-n", namespace)
        ip(*inside, "addr", "add", f"{address}/24", "dev", "wire")
        ip(*inside, "link", "set", "dev", "wire", "up", "mtu", str(options.mtu))
        ip(*inside, "link", "set", "dev", "lo", "up")
        if options.kernel:
            limit = ["rate", f"{options.rate}mbit", "burst", "256kb", "latency", "50ms"]
            subprocess.run(["tc", "-n", namespace, "qdisc", "add", "dev", "wire", "root", "tbf", *limit], check=True)
    if not options.kernel:
        relay = os.fork()
        if relay == 0:
            try:
                carry(devices)
            finally:
                os._exit(0)

    with tempfile.TemporaryDirectory() as directory:
        # What mpirun calls in place of ssh: the first argument is the host, the others are a command for a shell.
        agent = os.path.join(directory, "agent")
        with open(agent, "w") as file:
            file.write('#!/bin/sh\nshift\nexec ip netns exec engraft-b sh -c "$*"\n')
        os.chmod(agent, 0o755)
        subprocess.run(["ip", "netns", "exec", "engraft-a", "ping", "-c", "3", "-q", "10.77.0.2"], check=False, stderr=subprocess.DEVNULL)
        mpirun = [
            "ip", "netns", "exec", "engraft-a", "mpirun", "--allow-run-as-root", "-n", "2", "-H", ",".join(SIDES.values()), "--bind-to", "none",
            "--mca", "mpi_yield_when_idle", "1", "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self", "--mca", "pml", "ob1", "--mca", "btl_tcp_if_include", "wire",
            "--mca", "oob_tcp_if_include", "wire", *options.command,
        ]
        sys.exit(subprocess.run(mpirun).returncode)
finally:
    if relay:
        os.kill(relay, signal.SIGKILL)
        os.waitpid(relay, 0)
    remove()
