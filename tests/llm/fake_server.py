"""A server for tests, run as a program: `fake_server.py PORT [FAULT]`. Its "engine" is a child in a session of its own.

It answers chat completions with their own bodies; `PROMPT_TOKENS` in the environment is what it says to have read, and a
prompt with the word "die" ends it with status 3. With STUBBORN set, the engine ignores SIGTERM.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENGINE = (
    "import os, signal, time; os.setsid(); 'STUBBORN' in os.environ and signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('engine', os.getpid(), flush=True); time.sleep(600)"
)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer({"pid": os.getpid()})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "die" in asked["messages"][-1]["content"]:
            print("the engine ran out of luck", flush=True)
            os._exit(3)
        message = {"role": "assistant", "content": json.dumps(asked, sort_keys=True)}
        usage = {"prompt_tokens": int(os.environ["PROMPT_TOKENS"]), "completion_tokens": 2}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self.answer({"model": asked["model"], "choices": [choice], "usage": usage})

    def answer(self, told: dict) -> None:
        data = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def main(port: int, fault: str = "") -> None:
    print("server", os.getpid(), flush=True)
    if fault == "broken":
        sys.exit("no such weights")
    if fault == "silent":
        time.sleep(600)
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    subprocess.Popen([sys.executable, "-c", ENGINE])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server.serve_forever()


if __name__ == "__main__":
    words = sys.argv[1:]
    if "--port" in words:  # as vLLM is called
        words = [words[words.index("--port") + 1]]
    main(int(words[0]), *words[1:])
