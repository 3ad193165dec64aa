"""Whether what runs in this container answers: the API at /healthz, or vLLM at /health.

Exit code 0 when one of them does. The port is FORETASTE_PORT, 8000 when that is not set.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

PATHS = ("healthz", "health")
_PATIENCE_S = 2.0


def healthy(port: str) -> bool:
    """Whether the API or the engine on `port` of this machine says that it lives."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in PATHS:
        try:
            with direct.open(f"http://127.0.0.1:{port}/{path}", timeout=_PATIENCE_S) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            continue
    return False


if __name__ == "__main__":
    sys.exit(0 if healthy(os.environ.get("FORETASTE_PORT", "8000")) else 1)
