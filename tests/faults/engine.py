"""In the place of vLLM for this suite: `PORT PIDS`; says which process it is, and echoes."""

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


class Handler(BaseHTTPRequestHandler):
    """Health, and an echo of the last message."""

    def do_GET(self) -> None:
        self._send({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(0.003)
        said = {"role": "assistant", "content": f"heard: {body['messages'][-1]['content']}"}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        self._send({"choices": [choice], "usage": usage})

    def _send(self, said: dict[str, Any]) -> None:
        text = json.dumps(said).encode()
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
