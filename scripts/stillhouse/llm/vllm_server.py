"""A server on this machine that lives with the job that asks it: a free port, a health check, a log, an end."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from stillhouse.errors import ServerError

logger = logging.getLogger(__name__)

WARDEN = Path(__file__).with_name("server_warden.py")
HOST = "127.0.0.1"
ATTEMPTS = 3
"""Starts in all where something else took the port in between."""
START_S = 1800.0
"""Seconds until a server that lives but does not answer is given up: large weights may come over a slow network."""
TELL_S = 15.0
POLL_S = 0.25
END_S = 30.0
"""Seconds for the warden to end all of a server's processes; it takes ten at most."""
TAIL = 25
TAKEN = "address already in use"


class LocalServer:
    """`command(port)` run as a server that is ready when GET /health answers 200.

    Everything that it prints goes to `log`. It ends with `close`, and with this process however that ends.
    """

    def __init__(
        self, command: Callable[[int], list[str]], environment: dict[str, str], log: Path, limit_s: float = START_S
    ) -> None:
        self._command, self._environment, self._log, self._limit_s = command, environment, log, limit_s
        self._warden: subprocess.Popen | None = None
        self._reserved: socket.socket | None = None

    async def start(self) -> str:
        """The server's URL, once it is healthy; raises `ServerError` with the end of its log when it does not get there."""
        for attempt in range(1, ATTEMPTS + 1):
            url = self._launch()
            try:
                await self._wait(url)
                return url
            except ServerError:
                self.close()
                if attempt == ATTEMPTS or TAKEN not in self._words().lower():
                    raise
                logger.warning("the port of %s was taken in between; trying another one", url)
            except BaseException:
                self.close()
                raise
        raise AssertionError("unreachable")

    def _launch(self) -> str:
        """Start the warden with the server on a port that is free, and that nobody else is given meanwhile.

        A bound socket that does not listen keeps the port out of the kernel's choice for others, while a server that
        sets SO_REUSEADDR, as servers do, can still take it.
        """
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((HOST, 0))
        port = self._reserved.getsockname()[1]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with open(self._log, "wb") as log:
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", str(WARDEN), *self._command(port)],
                stdin=subprocess.PIPE,  # nothing is written: it closes when this process ends
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        logger.info("starting a server at port %d; its log is %s", port, self._log)
        return f"http://{HOST}:{port}"

    async def _wait(self, url: str) -> None:
        """Until the server is healthy; raises `ServerError` when it ends before, or takes longer than the limit."""
        started = told = time.monotonic()
        async with httpx2.AsyncClient(trust_env=False, timeout=5.0) as client:
            while not await _healthy(client, url):
                if fault := self.fault():
                    raise ServerError(fault)
                now = time.monotonic()
                if now - started > self._limit_s:
                    raise ServerError(f"the server was not ready after {self._limit_s:g} s; {self._end_of_log()}")
                if now - told > TELL_S:
                    told = now
                    logger.info("the server starts: %.0f s; %s", now - started, self._words().rpartition("\n")[2])
                await asyncio.sleep(POLL_S)
        if fault := self.fault():  # another server answered
            raise ServerError(fault)
        logger.info("the server is ready after %.0f s", time.monotonic() - started)

    def fault(self) -> str | None:
        """How the server ended, with the end of its log; None while it lives."""
        status = self._warden.poll() if self._warden else 0
        return None if status is None else f"the server ended with status {status}; {self._end_of_log()}"

    def _end_of_log(self) -> str:
        return f"the end of {self._log}:\n{self._words()}"

    def _words(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return "\n".join(text.rstrip().splitlines()[-TAIL:])

    def close(self) -> None:
        """End the server and all its processes, and give the port back. May be called twice."""
        if self._warden:
            self._warden.stdin.close()
            try:
                self._warden.wait(END_S)
            except subprocess.TimeoutExpired:
                self._warden.kill()
                self._warden.wait()
            self._warden = None
        if self._reserved:
            self._reserved.close()
            self._reserved = None


async def _healthy(client: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/health")).status_code == 200
    except httpx2.HTTPError:
        return False
