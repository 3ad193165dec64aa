from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from foretaste.serving.child import die_with_parent
die_with_parent()
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
COMMAND = """
import sys
from pathlib import Path
from foretaste.app.commands.serve import group
from foretaste.app.console import one_sentence
from foretaste.serving import vllm_server
vllm_server.vllm_command = lambda config, folder, port: [
    sys.executable, "-P", sys.argv[1], str(port)
]
vllm_server.model_folder = lambda name: Path(".")
with one_sentence():
    group(["--engine-only", "--port", sys.argv[2]])
"""


@pytest.mark.parametrize("end", ["ctrl-c", "terminated", "server killed"])
def test_serve_prints_its_address_and_leaves_nothing(home: Path, tmp_path: Path, end: str) -> None:
    from foretaste.serving.vllm_server import free_port

    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "command.py").write_text(COMMAND)
    port = free_port()
    command = [sys.executable, "-P", str(tmp_path / "command.py"), str(tmp_path / "server.py")]
    with subprocess.Popen(
        [*command, str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == f"http://127.0.0.1:{port}/v1"
        (server,) = psutil.Process(process.pid).children()
        if end == "server killed":
            server.kill()
        else:
            os.kill(process.pid, signal.SIGINT if end == "ctrl-c" else signal.SIGTERM)
        said = process.communicate(timeout=20)[1]
    deadline = time.monotonic() + 10
    while server.is_running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.is_running()
    if end == "ctrl-c":
        assert process.returncode == 0
        assert "Stopped." in said
    if end == "server killed":
        assert process.returncode == 1
        assert "vLLM ended unexpectedly (signal SIGKILL)" in said
        assert "Its log:" in said
