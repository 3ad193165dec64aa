"""In the place of vLLM for this suite: `PORT PIDS`; says which process it is, answers by rule."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from endpoint import answer


class Handler(BaseHTTPRequestHandler):
    """Health, and what the schema of a question allows; without one an echo."""

    def do_GET(self) -> None:
        self._send(b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(0.003)
        self._send(answer(body))

    def _send(self, text: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    # As `foretaste.serving.child`, which takes longer to import than this engine lives.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(os.environ["FORETASTE_PARENT_PID"]):
        sys.exit(1)
    with Path(sys.argv[2]).open("a") as out:
        out.write(f"{os.getpid()}\n")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
