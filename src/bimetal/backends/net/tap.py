"""A tap device: the guest as a neighbour on a network of the host's (Linux, tun(4)).

The device exists already (``ifname`` with a user who may open it, or a descriptor), or root makes
one that goes with the machine. Frames have the header of virtio's, so that the host's kernel cuts
segments and sums up, or leaves both to the guest.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Sequence
from struct import Struct, pack, unpack

from bimetal.backends.net.options import Options, refusal
from bimetal.backends.net.protocol import NetBackend
from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.forwarded import Forwarded
from bimetal.base.frames import (
    ETHERNET_HEADER,
    FRAME_LIMIT,
    OFFLOAD_HEADER,
    PLAIN,
    Frame,
    Offload,
    Offloads,
    Port,
)
from bimetal.base.log import EventLog

__all__ = ["Tap", "open_tap"]

DEVICE = "/dev/net/tun"

TUNSETIFF, TUNGETIFF = 0x4004_54CA, 0x8004_54D2
TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNSETVNETLE = 0x4004_54D0, 0x4004_54D8, 0x4004_54DC
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
"""Linux, include/uapi/linux/if_tun.h."""

SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFMTU = 0x8913, 0x8914, 0x8921
SIOCGIFINDEX, SIOCBRADDIF = 0x8933, 0x89A2
IFF_UP = 1
NAME_LIMIT = 15

F_CSUM, F_TSO4, F_TSO6, F_TSO_ECN = 1, 2, 4, 8
"""What TUNSETOFFLOAD may say of who reads."""

AT_ONCE = 64
"""Frames read before somebody else has a turn."""

FD_MOST = 1 << 20

_INTERFACE = Struct("16sH22x")


class Tap:
    """The tap device behind the descriptor ``fd``, called ``name``; ``has_header`` says whether
    frames begin with the header that tells what is left to be done."""

    forwards: Sequence[Forwarded] = ()

    def __init__(self, fd: int, name: str, *, has_header: bool, mtu: int = 0):
        self._fd, self._has_header, self.mtu = fd, has_header, mtu
        self.offloads = Offloads.ALL if has_header else 0
        self._log = EventLog(f"net.tap.{name}")
        self._waiting: list[Frame] = []
        self._buffer = bytearray(OFFLOAD_HEADER.size * has_header + FRAME_LIMIT)
        self._refused = self._closed = False
        self._watch: Watch | None = None
        self._port: Port | None = None
        os.set_blocking(fd, False)

    def connect(self, port: Port) -> None:
        """See `NetBackend.connect`."""
        self._port = port

    def attach(self, reactor: Reactor) -> None:
        """See `NetBackend.attach`."""
        self._watch = reactor.watch(self._fd, self._readable, self._writable)

    def send(self, frames: Sequence[Frame]) -> int:
        """See `NetBackend.send`."""
        for number, frame in enumerate(frames):
            try:
                if self._has_header:
                    os.writev(self._fd, [OFFLOAD_HEADER.pack(*frame.offload), *frame.pieces])
                else:
                    os.writev(self._fd, frame.pieces)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS) and self._watch is not None:
                    self._refused = self._watch.writing = True
                    return number
                # EINVAL: the kernel found what the guest says of a frame wrong; EIO: it is down.
                if error.errno not in (errno.EINVAL, errno.EIO):
                    self._log.host_error("a frame cannot be sent", str(error))
        return len(frames)

    def resume(self) -> None:
        """See `NetBackend.resume`."""
        self._deliver()

    def negotiated(self, offloads: int) -> None:
        """See `NetBackend.negotiated`."""
        if not self._has_header or self._closed:
            return
        told = {Offloads.CHECKSUM: F_CSUM, Offloads.TCP4: F_TSO4, Offloads.TCP6: F_TSO6}
        flags = sum(flag for bit, flag in told.items() if offloads & bit)
        if offloads & Offloads.ECN and flags & (F_TSO4 | F_TSO6):
            flags |= F_TSO_ECN
        try:
            fcntl.ioctl(self._fd, TUNSETOFFLOAD, flags)
        except OSError as error:
            self._log.host_error("the kernel does not know these offloads", str(error))

    def close(self) -> None:
        """See `NetBackend.close`."""
        if not self._closed:
            self._closed = True
            if self._watch is not None:
                self._watch.close()
            os.close(self._fd)

    def forked(self) -> None:
        """See `NetBackend.forked`."""
        self._closed = True
        os.close(self._fd)

    def _writable(self) -> None:
        assert self._watch is not None
        assert self._port is not None
        self._watch.writing = False
        if self._refused:
            self._refused = False
            self._port.sendable()

    def _readable(self) -> None:
        start = OFFLOAD_HEADER.size if self._has_header else 0
        view = memoryview(self._buffer)
        for _ in range(AT_ONCE):
            try:
                count = os.readv(self._fd, [self._buffer])
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    self._gone(error)
                break
            if ETHERNET_HEADER <= count - start <= FRAME_LIMIT:
                offload = self._offload() if start else PLAIN
                self._waiting.append(Frame([bytes(view[start:count])], offload))
        self._deliver()

    def _offload(self) -> Offload:
        fields = OFFLOAD_HEADER.unpack_from(self._buffer)
        return Offload(*fields) if any(fields) else PLAIN

    def _deliver(self) -> None:
        assert self._port is not None
        if self._waiting:
            del self._waiting[: self._port.receive(self._waiting)]
        if self._watch is not None and not self._closed:
            self._watch.reading = not self._waiting

    def _gone(self, error: OSError) -> None:
        """The device was removed: there is no network any more."""
        self._log.host_error("the tap device cannot be read", str(error))
        assert self._port is not None
        if self._watch is not None:
            self._watch.close()
        self._port.set_link(False)


def open_tap(options: Options) -> NetBackend:
    """``ifname=NAME`` for a device that is there or is made, or ``fd=NUMBER`` for one that was
    opened by whoever started us; ``bridge=NAME`` puts it into a bridge of the host. Raises
    `BimetalError`."""
    fd, name = options.number("fd", 0, FD_MOST), options.text("ifname")
    bridge = options.text("bridge")
    for script in ("script", "downscript"):
        if options.text(script) not in (None, "no"):
            raise refusal(f"{script}= is not run", "set the device up yourself, or say bridge=")
    options.finish()
    if fd is not None:
        if name is not None or bridge is not None:
            raise refusal("fd= is a device that is set up", "leave ifname= and bridge= away")
        return _from_descriptor(fd)
    for each in (name, bridge):
        if each is not None and not 0 < len(os.fsencode(each)) <= NAME_LIMIT:
            raise refusal(f"{each!r} is no name of a device", f"give 1 to {NAME_LIMIT} characters")
    return _made(name or "", bridge)


def _from_descriptor(fd: int) -> Tap:
    try:
        name, flags = _unpacked(fcntl.ioctl(fd, TUNGETIFF, bytes(_INTERFACE.size)))
        if not flags & IFF_TAP or not flags & IFF_NO_PI:
            raise OSError(errno.EINVAL, "it carries no plain Ethernet frames")
        return _prepared(fd, name, flags)
    except OSError as error:
        raise BimetalError(
            f"descriptor {fd} is no tap device: {error.strerror or error}",
            f"open {DEVICE}, have it IFF_TAP and IFF_NO_PI, and hand it down to this process",
            ExitCode.USAGE,
        ) from error


def _made(name: str, bridge: str | None) -> Tap:
    """The device called ``name``, or one with a name that is free."""
    fd = -1
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        wanted = _INTERFACE.pack(os.fsencode(name), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
        name, flags = _unpacked(fcntl.ioctl(fd, TUNSETIFF, wanted))
        if bridge is not None:
            _put_into(bridge, name)
        return _prepared(fd, name, flags)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        raise _told(name, bridge, error) from error


def _put_into(bridge: str, name: str) -> None:
    """Make the device a port of the bridge, and switch it on. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            index = _of_interface(control, name, SIOCGIFINDEX, "i")
            fcntl.ioctl(control, SIOCBRADDIF, pack("16si20x", os.fsencode(bridge), index))
        except OSError as error:
            raise OSError(error.errno, f"the bridge {bridge}: {error.strerror}") from error
        flags = _of_interface(control, name, SIOCGIFFLAGS, "H")
        fcntl.ioctl(control, SIOCSIFFLAGS, _INTERFACE.pack(os.fsencode(name), flags | IFF_UP))


def _prepared(fd: int, name: str, flags: int) -> Tap:
    """Have the kernel use our form of its header, if there is to be one. Raises OSError."""
    if flags & IFF_VNET_HDR:
        fcntl.ioctl(fd, TUNSETVNETHDRSZ, pack("i", OFFLOAD_HEADER.size))
        fcntl.ioctl(fd, TUNSETVNETLE, pack("i", 1))
        fcntl.ioctl(fd, TUNSETOFFLOAD, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        mtu = _of_interface(control, name, SIOCGIFMTU, "i")
    return Tap(fd, name, has_header=bool(flags & IFF_VNET_HDR), mtu=mtu if mtu != 1500 else 0)


def _of_interface(control: socket.socket, name: str, request: int, form: str) -> int:
    """What the kernel says of an interface (netdevice(7))."""
    answer = fcntl.ioctl(control, request, _INTERFACE.pack(os.fsencode(name), 0))
    (value,) = unpack(f"16s{form}", answer[: 16 + Struct(form).size])[1:]
    return int(value)


def _unpacked(answer: bytes) -> tuple[str, int]:
    name, flags = _INTERFACE.unpack(answer)
    return os.fsdecode(name.rstrip(b"\0")), int(flags)


def _told(name: str, bridge: str | None, error: OSError) -> BimetalError:
    what = f"the tap device {name}" if name else "a tap device"
    cause = f"{what} cannot be had: {error.strerror or error}"
    code = ExitCode.UNAVAILABLE
    match error.errno:
        case errno.EPERM | errno.EACCES:
            remedy = (
                "have root make one for you: ip tuntap add dev tap0 mode tap user $USER, "
                "and say ifname=tap0"
            )
            code = ExitCode.NO_PERMISSION
        case errno.EBUSY:
            remedy = "another program has it open: end that, or name another device"
        case errno.ENOENT | errno.ENXIO | errno.ENODEV if bridge is None:
            remedy = f"load the kernel's module: modprobe tun (which makes {DEVICE})"
        case _:
            remedy = "look with 'ip link' whether the names are right"
    return BimetalError(cause, remedy, code)
