"""An intruder in a container: this process, forked, in the namespaces of the container, with its user, its capabilities and the
seccomp filter that the kernel has for its main process.

The program that a container runs has been taken over, and can run anything: so the moves need no program in the image.
"""

from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401  (in a container there is no library to load it from when it is needed)
import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ops.security_audit.probe.containers import status

NAMESPACES = ("ipc", "uts", "net", "pid", "mnt")
"""In this order: after the last one the paths of the others would no longer be found."""
PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 8, 22, 24, 38
SECCOMP_MODE_FILTER = 2
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_SECCOMP_GET_FILTER = 17, 0x4206, 0x4207, 0x420C
INSTRUCTION_BYTES = 8
"""Of one `struct sock_filter`."""
WALL = 0x40000000
"""__WALL of waitpid(2): a process that is traced and no child."""
CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3, from <linux/capability.h>."""
LAST_CAPABILITY = 40
SECONDS = 60

Move = Callable[[], str]
"""Tries something. Returns what was gained, or nothing where it was refused."""

_libc = ctypes.CDLL(None, use_errno=True)


def tried(pid: int, moves: Mapping[str, Move]) -> dict[str, str]:
    """What each of the moves gains in the place of a process: nothing where it is refused."""
    found = status(pid)
    filters = filters_of(pid, int(found.get("Seccomp_filters", "0")))
    namespaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in NAMESPACES]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _attack(found, filters, namespaces, writing, moves)
    os.close(writing)
    for descriptor in namespaces:
        os.close(descriptor)
    with os.fdopen(reading) as pipe:
        result = {name: what for line in pipe for name, what in json.loads(line).items()}
    os.waitpid(child, 0)
    return {name: result.get(name, "it could not be tried, which proves nothing") for name in moves}


def filters_of(pid: int, number: int) -> list[bytes]:
    """The seccomp filters of a process as the kernel has them, the first one first: ptrace(2). It stops for a moment.

    Raises OSError where the kernel does not give them (CONFIG_CHECKPOINT_RESTORE).
    """
    if not number:
        return []
    _ptrace(PTRACE_SEIZE, pid, 0, None)
    try:
        _ptrace(PTRACE_INTERRUPT, pid, 0, None)
        os.waitpid(pid, WALL)
        found = []
        for index in reversed(range(number)):
            instructions = ctypes.create_string_buffer(_ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, None) * INSTRUCTION_BYTES)
            _ptrace(PTRACE_SECCOMP_GET_FILTER, pid, index, instructions)
            found.append(instructions.raw)
        return found
    finally:
        _ptrace(PTRACE_DETACH, pid, 0, None)


def _ptrace(request: int, pid: int, address: int, data: ctypes.Array[ctypes.c_char] | None) -> int:
    result = _libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(address), data)
    if result == -1:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")
    return int(result)


class _Program(ctypes.Structure):
    """struct sock_fprog: how many instructions, and where they are."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _confine(filters: list[bytes]) -> None:
    for instructions in filters:
        program = _Program(len(instructions) // INSTRUCTION_BYTES, instructions)
        if _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
            os._exit(5)


def _attack(
    found: Mapping[str, str], filters: list[bytes], namespaces: list[int], writing: int, moves: Mapping[str, Move]
) -> None:  # fmt: skip
    """Never returns: the fork of a test must not go on as the test."""
    try:
        for descriptor in namespaces:
            if _libc.setns(descriptor, 0):
                os._exit(3)
        # Only a child stands in the namespace of processes that was entered.
        if inner := os.fork():
            os.waitpid(inner, 0)
            os._exit(0)
        for name, move in moves.items():
            # Each in a process of its own: who has become somebody else tries the next one as that.
            if (one := os.fork()) == 0:
                _take_rights(found)
                _confine(filters)
                os.write(writing, json.dumps({name: _result(move)}).encode() + b"\n")
                os._exit(0)
            os.waitpid(one, 0)
    finally:
        os._exit(0)


def _result(move: Move) -> str:
    try:
        return move()
    except OSError:
        return ""
    except Exception as problem:
        return f"the move itself failed, which proves nothing: {problem!r}"


def _take_rights(found: Mapping[str, str]) -> None:
    """User, groups, capabilities and no-new-privileges of the container's own process."""
    bounding, permitted = int(found["CapBnd"], 16), int(found["CapPrm"], 16)
    for bit in range(LAST_CAPABILITY + 1):
        if not bounding >> bit & 1:
            _libc.prctl(PR_CAPBSET_DROP, bit, 0, 0, 0)
    _libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([int(one) for one in found.get("Groups", "").split()])
    gid, uid = int(found["Gid"].split()[0]), int(found["Uid"].split()[0])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set_capabilities(permitted)
    if found["NoNewPrivs"] == "1":
        _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _set_capabilities(bits: int) -> None:
    """capset(2): effective and permitted alike, none inherited."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    if _libc.capset(header, data):
        os._exit(4)


REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
"""Not allowed, or not there at all: some kernels are built without modules."""


def permitted(name: str, *arguments: object) -> str:
    """Whether a function of the C library is allowed: something where it succeeds, or fails for another reason than rights."""
    if getattr(_libc, name)(*arguments) == -1 and ctypes.get_errno() in REFUSED:
        return ""
    return f"{name} is allowed"


def syscall(number: int, *arguments: object) -> int:
    """syscall(2), for calls that the C library has no function for; -1 where it fails."""
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def written(path: str) -> str:
    """A file that could be made, or an existing one that could be opened to write; nothing is written into it."""
    there = Path(path).exists()
    os.close(os.open(path, os.O_WRONLY if there else os.O_WRONLY | os.O_CREAT, 0o600))
    if not there:
        Path(path).unlink()
    return f"can write {path}"


def read(path: str) -> str:
    with Path(path).open("rb") as file:
        return f"can read {path}" if file.read(16) else ""
