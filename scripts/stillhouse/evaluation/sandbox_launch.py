"""Runs in the sandboxed process itself, before the program: shuts it in, and then becomes the program.

Needs the standard library alone. `sandbox.py` starts it with one argument, a JSON object.
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys

NOBODY = 65534
BOX = "/box"
"""The only folder that a program sees as writable, in memory."""

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_MOUNT_SETATTR, _LANDLOCK = 442, 444  # system calls; these numbers are the same on all architectures
_READ_ONLY = struct.pack("QQQQ", 1 | 2 | 4, 0, 0, 0)  # read-only, no set-uid, no devices
_NO_NEW_PRIVS, _DEATH_SIGNAL = 38, 1
_libc = ctypes.CDLL(None, use_errno=True)


class CannotIsolateError(Exception):
    """This machine offers no way to shut a program in."""


def main() -> None:
    """Shut this process in as `sys.argv[1]` says and become the program, which is told how; tell why not on the pipe."""
    spec = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        how = _isolate(spec) if spec["isolate"] else "limits alone"
        if how == "namespaces":
            _become_init(spec)
        _limit(spec, 0 if how == "landlock" else spec["processes"])
        # -s -P with nothing but this in the environment is -I, where every run has the same hashes
        command = [spec["python"], "-s", "-P", "-S", "-B", spec["program"], str(spec["result"]), how]
        os.execve(spec["python"], command, {"PYTHONHASHSEED": "0"})
    except (CannotIsolateError, OSError) as error:
        os.write(spec["result"], f"cannot: {error}\n".encode())


def _isolate(spec: dict) -> str:
    """Into namespaces with a root of its own; where the kernel forbids them, behind Landlock."""
    if sys.platform != "linux":
        raise CannotIsolateError("it takes Linux")
    try:
        _own_root(spec)
    except OSError as error:
        _landlock(spec, str(error))
        return "landlock"
    return "namespaces"


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _unshare() -> None:
    """Leave the machine's namespaces; without root by way of a user namespace, where this user is nobody."""
    flags = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and _libc.unshare(flags) == 0:
        return
    _check(_libc.unshare(flags | _NEWUSER), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [text.encode() if text else None for text in (source, target, kind, data)]
    _check(_libc.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def _read_only(path: str, deep: bool) -> None:
    attributes = ctypes.create_string_buffer(_READ_ONLY, len(_READ_ONLY))
    flags = 0x8000 if deep else 0
    _check(_libc.syscall(_MOUNT_SETATTR, -100, path.encode(), flags, attributes, len(_READ_ONLY)), f"seal {path}")


def _own_root(spec: dict) -> None:
    """A root that holds Python and its libraries, read-only, and an empty folder in memory with the program's files."""
    files = {name: _read(os.path.join(spec["folder"], name)) for name in spec["files"]}
    _unshare()
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    root = os.path.join(spec["folder"], "root")
    os.mkdir(root)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path in spec["readable"]:
        _bind(path, root + path)
    box = root + BOX
    os.mkdir(box)
    _mount("tmpfs", box, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={spec['disk']},nr_inodes=4096,mode=777")
    for name, content in files.items():
        with open(os.path.join(box, name), "wb") as stream:
            stream.write(content)
    if not os.path.lexists(root + "/tmp"):
        os.symlink(BOX, root + "/tmp")
    os.mkdir(root + "/dev")
    open(root + "/dev/null", "w").close()
    _mount("/dev/null", root + "/dev/null", None, _MS_BIND)
    _read_only(root, deep=False)
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", 2), "umount")
    os.chdir(BOX)


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _bind(path: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.lexists(target):
        return
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.mkdir(target)
    else:
        open(target, "w").close()
    _mount(path, target, None, _MS_BIND | _MS_REC)
    _read_only(target, deep=True)


def _become_init(spec: dict) -> None:
    """Return in a child below the first process of the new namespace: when the program ends, all it left is killed."""
    for _ in range(2):
        child = os.fork()
        if child:
            os.close(spec["result"])
            status = os.waitpid(child, 0)[1]
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        _libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _landlock(spec: dict, why: str) -> None:
    """The second best: no writing outside the folder, no TCP, no signals to others. Raises where that is not there."""
    os.chdir(spec["folder"])
    version = _libc.syscall(_LANDLOCK, None, 0, 1)
    if version < 1 or (version < 6 and os.geteuid() != 0):
        raise CannotIsolateError(f"{why}; and Landlock is {'too old' if version > 0 else 'not there'}")
    everything = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    words = [everything, 3 if version >= 4 else 0, 3 if version >= 6 else 0][: 1 + (version >= 4) + (version >= 6)]
    attributes = struct.pack("Q" * len(words), *words)
    rules = _libc.syscall(_LANDLOCK, attributes, len(attributes), 0)
    readable = [(path, 1 | 4 | 8) for path in spec["readable"]]  # run, read files, list folders
    for path, access in [*readable, ("/dev/null", 2 | 4), (spec["folder"], everything)]:
        handle = os.open(path, os.O_PATH)
        allowed = access if os.path.isdir(path) else access & 7
        _check(_libc.syscall(_LANDLOCK + 1, rules, 1, struct.pack("=Qi", allowed, handle), 0), f"Landlock {path}")
        os.close(handle)
    if os.geteuid() == 0:
        os.chown(spec["folder"], NOBODY, NOBODY)
        _drop_root()
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    _check(_libc.syscall(_LANDLOCK + 2, rules, 0), "Landlock")


def _drop_root() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _limit(spec: dict, processes: int) -> None:
    """Bounds of one process, and no way to more rights; where this is still root, it becomes nobody."""
    for name, most in (
        (resource.RLIMIT_CPU, spec["cpu"]),
        (resource.RLIMIT_AS, spec["memory"]),
        (resource.RLIMIT_FSIZE, spec["disk"]),
        (resource.RLIMIT_NOFILE, spec["open_files"]),
    ):
        resource.setrlimit(name, (most, most))
    if spec["isolate"]:
        if os.geteuid() == 0:
            _drop_root()
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
        _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)


if __name__ == "__main__":
    main()
