"""What runs inside the vLLM child process: vLLM's own server, bound to the life of its parent.

Two things are done here that vLLM does not do. Every process of the server is killed when its
parent ends, so that nothing is left behind even after `kill -9`: multiprocessing imports this
file in each process that vLLM spawns, and the call below runs again there. And this file imports
nothing heavy at its top, so that those processes do not load the HTTP server that only the first
one needs.
"""

from __future__ import annotations

from foretaste.serving.child import die_with_parent


def main() -> None:
    """Run vLLM's OpenAI-compatible server with the arguments of the command line."""
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    serve()


if __name__ in ("__main__", "__mp_main__"):
    die_with_parent()
if __name__ == "__main__":
    main()
