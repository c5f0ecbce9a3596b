"""A process whose processor executes single instructions: the child of `native`.

It maps code that loads a state, executes an instruction and stores the state, and a handler of
signals, both machine code that its parent sends. What faults ends there: the handler notes the
exception and has the interrupted code go on where states are stored. So Python sees no signal, and
nothing but this process is harmed by an instruction that does what nobody expected.

Requests and answers are on the standard streams; see `native` for their format.
"""

from __future__ import annotations

import ctypes
import signal
import struct
import sys
from typing import BinaryIO

__all__ = ["PAGE", "REQUEST", "SET_UP", "serve"]

PAGE = 4096
SET_UP = struct.Struct("<8Q")
"""Addresses of the stub, of its cells, of the instruction, and of memory with its size; offsets in
the stub: of the handler; how many bytes the stub has, how many bytes a stack for signals."""
REQUEST = struct.Struct("<7I")
"""Bytes of code, bytes of a block, number of blocks, bytes of memory in a block; where to jump, by
offset and selector; the selector of data segments."""

CELLS = struct.Struct("<4Q3I")
"""The first block, the end, the bytes of a block, the 64-bit words of its memory; the selector of
data segments; where to jump."""

READ_WRITE_EXECUTE = 7
PRIVATE_ANONYMOUS_FIXED = 0x02 | 0x20 | 0x100000
SIGINFO_ONSTACK_NODEFER = 0x4 | 0x08000000 | 0x40000000
MODIFY_LDT, MODIFY_CODE, MODIFY_USABLE = 154, 2 << 1, 1 << 6
FAULTS = (signal.SIGILL, signal.SIGFPE, signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP)
HALT = b"\xf4"
"""What stands around the instruction: a user that executes it gets #GP there."""

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


class Action(ctypes.Structure):
    """``struct sigaction``."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class Stack(ctypes.Structure):
    """``stack_t``."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def _map(address: int, size: int) -> None:
    size = -(-size // PAGE) * PAGE
    found = libc.mmap(address, size, READ_WRITE_EXECUTE, PRIVATE_ANONYMOUS_FIXED, -1, 0)
    if found != address:
        raise OSError(ctypes.get_errno(), f"nothing can be mapped at {address:#x}")


def _describe_segment(number: int, base: int, is_code: bool) -> None:
    """Make a segment of 64 KiB in the local descriptor table, of 16 bits. Kernels may have been
    built without: then what uses it faults."""
    flags = (MODIFY_CODE if is_code else 0) | MODIFY_USABLE
    libc.syscall(MODIFY_LDT, 1, struct.pack("<4I", number, base, 0xFFFF, flags), 16)


def _handle_faults(handler: int, size: int) -> ctypes.Array[ctypes.c_char]:
    """Have the handler called on a stack of its own, which is returned: it must be kept."""
    stack = ctypes.create_string_buffer(size)
    alternative = Stack(ctypes.addressof(stack), 0, size)
    if libc.sigaltstack(ctypes.byref(alternative), None):
        raise OSError(ctypes.get_errno(), "sigaltstack")
    for number in FAULTS:
        action = Action(handler=handler, flags=SIGINFO_ONSTACK_NODEFER)
        if libc.sigaction(int(number), ctypes.byref(action), None):
            raise OSError(ctypes.get_errno(), "sigaction")
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.valid_signals()) - set(FAULTS))
    return stack


def _read(source: BinaryIO, size: int) -> bytearray:
    """So many bytes; EOFError at the end."""
    content = bytearray(size)
    view, done = memoryview(content), 0
    while done < size:
        count = source.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return content


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Set up what the parent says, and answer its requests until it goes away."""
    stub, cells, code, memory, memory_size, handler, size, stack = SET_UP.unpack(
        _read(source, SET_UP.size)
    )
    _map(stub, size)
    ctypes.memmove(stub, bytes(_read(source, size)), size)
    _map(code, PAGE)
    _map(memory, memory_size)
    for number, base in enumerate((code, memory + memory_size // 2)):
        _describe_segment(number, base, is_code=base == code)
    kept = _handle_faults(stub + handler, stack)
    run = ctypes.CFUNCTYPE(None)(stub)
    while kept:
        request = source.read(REQUEST.size)
        if len(request) < REQUEST.size:
            return
        length, block, count, window, entry, segment, data = REQUEST.unpack(request)
        ctypes.memmove(code, bytes(_read(source, length)).ljust(PAGE, HALT), PAGE)
        # Blocks are aligned as XSAVE wants it.
        content = _read(source, block * count)
        whole = ctypes.create_string_buffer(len(content) + 64)
        first = -(-ctypes.addressof(whole) // 64) * 64
        ctypes.memmove(first, bytes(content), len(content))
        given = (first, first + len(content), block, window // 8, data, entry, segment)
        ctypes.memmove(cells, CELLS.pack(*given), CELLS.size)
        run()
        sink.write(ctypes.string_at(first, len(content)))
        sink.flush()


if __name__ == "__main__":
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except EOFError:
        sys.exit(1)
