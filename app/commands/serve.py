"""`foretaste serve`: a language model behind an OpenAI-compatible address, until it is stopped."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from foretaste.app.console import say

_LOOK_SECONDS = 1.0


def serve(
    model: Annotated[
        str, typer.Option(help="bundled:NAME, a folder, a .gguf file or a hub id.")
    ] = "bundled:smollm2-135m-instruct",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1; a free one if unset.")
    ] = None,
    max_model_len: Annotated[
        int, typer.Option(min=64, help="Tokens of prompt and answer together.")
    ] = 4096,
    max_num_seqs: Annotated[int, typer.Option(min=1, help="Asks answered at the same time.")] = 16,
    kv_cache_gb: Annotated[
        float, typer.Option(min=0.05, help="Memory of the attention cache in GiB (CPU).")
    ] = 1.0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; all cores but one if unset.")
    ] = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="Accept LoRA adapters, also while running.")
    ] = False,
) -> None:
    """Start vLLM alone and print its address; Ctrl-C stops it and everything it started.

    Use it from another terminal: foretaste recommend --endpoint URL --model NAME.
    """
    from foretaste.serving.engine_config import EngineConfig
    from foretaste.serving.vllm_server import vllm_server

    config = EngineConfig(
        model=model,
        port=port,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        kv_cache_gb=kv_cache_gb,
        threads=threads,
        enable_lora=lora,
    )
    try:
        with vllm_server(config) as server:
            print(server.url, flush=True)
            say(f"{model} answers at {server.url} (log: {server.log}). Ctrl-C stops it.")
            while True:
                server.check()
                time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        say("Stopped.")
