"""Shuts a program in, starts it, and tells how it ended; runs no line of the program in its own process.

Needs the standard library alone. `sandbox.py` starts it with one argument, a JSON object.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
import time

NOBODY = 65534
BOX = "/box"
"""The only folder that a program sees as writable, in memory."""
STARTED, RETURNED = b"s", b"r"
"""What the runner says before the answer's code runs, and when that came to its end."""
HEARD = 128  # bytes that are kept of what a child writes; more than it may say
POLL_S = 0.02  # between two looks at whether the child ended

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_MOUNT_SETATTR = 442  # a system call; the number is the same on all architectures
_READ_ONLY = struct.pack("QQQQ", 1 | 2 | 4, 0, 0, 0)  # read-only, no set-uid, no devices
_NO_NEW_PRIVS, _DEATH_SIGNAL, _DUMPABLE = 38, 1, 4
_libc = ctypes.CDLL(None, use_errno=True)


class CannotIsolateError(Exception):
    """This machine offers no way to shut a program in."""


def main() -> None:
    """As `sys.argv[1]` says, become a program of our own, or shut a foreign one in and tell how it ended."""
    spec = json.loads(sys.argv[1])
    os.umask(0o022)  # folders and files of the box are for nobody to read, whatever the user's habit
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not spec["isolate"]:
        _limit(spec)
        _become(spec, [spec["result"]])
    try:
        report = _run_shut_in(spec)
    except (CannotIsolateError, OSError) as error:
        report = {"cannot": str(error)}
    os.write(spec["result"], json.dumps(report).encode())


def _run_shut_in(spec: dict) -> dict:
    """Enter the namespaces, where this process goes on as the first one; raises where the machine refuses them."""
    if sys.platform != "linux":
        raise CannotIsolateError("it takes Linux")
    tests = _read(os.path.join(spec["folder"], spec["held"])).decode()
    _own_root(spec)
    init = os.fork()
    if init:
        os.close(spec["result"])
        os.waitpid(init, 0)
        os._exit(0)
    _libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    _libc.prctl(_DUMPABLE, 0, 0, 0, 0)  # no reading of this process by the program
    return _supervise(spec, tests)


def _supervise(spec: dict, tests: str) -> dict:
    """Run the program in a child until it ends or the wall time is over, kill all that it left, tell how it ended."""
    down, up = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _enter(spec, down[0], up[1])
    os.close(down[0])
    os.close(up[1])
    nonce = os.urandom(16).hex()
    message = json.dumps([tests, nonce]).encode()
    heard, status = _talk(child, up[0], down[1], message, time.monotonic() + spec["wall"])
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    left = _reap(0)
    ended = left[child] if status is None else status
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of all descendants, since all of them are reaped
    return {
        "started": heard.startswith(STARTED),
        "done": status == 0 and heard == STARTED + RETURNED + nonce.encode(),
        "late": status is None,
        "signal": os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0,
        "cpu": used.ru_utime + used.ru_stime,
    }


def _enter(spec: dict, down: int, up: int) -> None:
    """Become the program, which has no more than its two ends of the pipes to this process's parent; never returns."""
    try:
        os.close(spec["result"])
        for handle in (down, up):
            os.set_inheritable(handle, True)
        _limit(spec)
        _become(spec, [down, up])
    except OSError as error:
        os.write(2, f"{error}\n".encode())
    finally:
        os._exit(1)


def _talk(child: int, up: int, down: int, message: bytes, until: float) -> tuple[bytes, int | None]:
    """What the child wrote, and its exit status: None when it did not end in time. It gets `message` on its word."""
    os.set_blocking(up, False)
    os.set_blocking(down, False)
    heard, watched = b"", [up]
    while time.monotonic() < until:
        asked = [down] if message and heard.startswith(STARTED + RETURNED) else []
        readable, writable, _ = select.select(watched, asked, [], POLL_S)
        ended = _reap(os.WNOHANG)
        if readable or child in ended:
            chunk = _hear(up)
            heard = (heard + chunk)[:HEARD]
            watched = watched if chunk else []
        if child in ended:
            return heard, ended[child]
        if writable:
            message = _send(down, message)
    return heard, None


def _hear(handle: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(handle, 1 << 16)
    return b""


def _send(handle: int, message: bytes) -> bytes:
    """Send what the pipe takes, and return the rest; the end of the message is the end of the pipe."""
    with contextlib.suppress(BrokenPipeError):
        message = message[os.write(handle, message) :]
        if message:
            return message
    os.close(handle)
    return b""


def _reap(options: int) -> dict[int, int]:
    """Exit statuses of the children that ended; with 0 for `options`, of all of them once they did."""
    statuses: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while (told := os.waitpid(-1, options))[0]:
            statuses[told[0]] = told[1]
    return statuses


def _become(spec: dict, handles: list[int]) -> None:
    # -s -P with nothing but this in the environment is -I, where every run has the same hashes
    command = [spec["python"], "-s", "-P", "-S", "-B", spec["program"], *map(str, handles)]
    os.execve(spec["python"], command, {"PYTHONHASHSEED": "0"})


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
    files = {name: _read(os.path.join(spec["folder"], name)) for name in spec["files"] if name != spec["held"]}
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


def _drop_root() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _limit(spec: dict) -> None:
    """Bounds of one process, and no way to more rights; where this is still root, it becomes nobody."""
    # at the first of its two CPU bounds the kernel sends SIGXCPU, which says what ended it; the second kills who ignores it
    resource.setrlimit(resource.RLIMIT_CPU, (spec["cpu"], spec["cpu"] + 1))
    for name, most in (
        (resource.RLIMIT_AS, spec["memory"]),
        (resource.RLIMIT_FSIZE, spec["disk"]),
        (resource.RLIMIT_NOFILE, spec["open_files"]),
    ):
        resource.setrlimit(name, (most, most))
    if spec["isolate"]:
        if os.geteuid() == 0:
            _drop_root()
        resource.setrlimit(resource.RLIMIT_NPROC, (spec["processes"], spec["processes"]))
        _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)


if __name__ == "__main__":
    main()
