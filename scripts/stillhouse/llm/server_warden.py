"""Runs a server for as long as whoever started it lives: `python server_warden.py COMMAND...`, standard library only.

Standard input is a pipe whose other end the consumer holds: it closes when that process ends, in whatever way, SIGKILL too.
Then the server's process group is ended, and whatever of its processes left the group, since a server's engine is a
process of its own and would hold its memory on. A process apart does this because a signal at the parent's death reaches
children only, never grandchildren.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 5.0
"""Seconds that a server has to end by itself."""
TICK_S = 0.1
SIGNAL_AT_PARENTS_DEATH, ADOPT_ORPHANS = 1, 36
"""Options of Linux's prctl(2)."""


def main() -> int:
    """Run the command on the command line; its exit status, once nothing of it lives any more."""
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: ended.append(number))
    _prctl(ADOPT_ORPHANS, 1)
    server = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: _prctl(SIGNAL_AT_PARENTS_DEATH, signal.SIGKILL),  # this process may be killed, too
    )
    while server.poll() is None and not ended and not select.select([0], [], [], TICK_S)[0]:
        pass
    _end(server)
    return server.returncode


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end(server: subprocess.Popen) -> None:
    """End the server's group, gently first, and then its descendants that are left."""
    for number, seconds in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        until = time.monotonic() + seconds
        while (server.poll() is None or _adopted()) and time.monotonic() < until:
            time.sleep(TICK_S)
    for child in _adopted():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    server.wait()


def _adopted() -> list[int]:
    """Children of this process that live, those of dead processes below it among them; none where there is no /proc."""
    own = os.getpid()
    with contextlib.suppress(OSError):
        found = [int(child) for child in Path(f"/proc/{own}/task/{own}/children").read_text().split()]
        return [child for child in found if not _reaped(child)]
    return []


def _reaped(child: int) -> bool:
    """Whether a child has ended; its place in the table of processes is given back."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(child, os.WNOHANG)[0] == child
    return True


if __name__ == "__main__":
    sys.exit(main())
