"""What a language-model engine is told when it is opened; `serving/engine.py` opens it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from foretaste.serving.arithmetic import usable_cores

DEFAULT_MODEL = "bundled:smollm2-135m-instruct"


class EngineConfig(BaseModel):
    """One language model, and where it runs. The defaults suit two cores and 8 GB of memory.

    `endpoint` comes first: with it nothing is started here. Otherwise `engine` chooses between a
    vLLM server started as a child process and transformers inside this process. The fields from
    `kv_cache_gb` on are vLLM's alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        DEFAULT_MODEL,
        min_length=1,
        description="`bundled:NAME`, a local folder, a .gguf file or a hub id; with `endpoint`, "
        "the name that the endpoint knows the model by.",
    )
    engine: Literal["vllm", "transformers"] = Field(
        "vllm", description="What runs the model when no `endpoint` is given."
    )
    endpoint: str | None = Field(
        None, description="Address of an OpenAI-compatible server, such as http://host:8000/v1."
    )
    form: Literal["text", "hybrid"] = Field(
        "text",
        description="How entities of a prompt reach the model: written out, or as one vector each. "
        "`hybrid` needs `adaptor` and vLLM; an `endpoint` must serve `model` with prompt_embeds.",
    )
    adaptor: str | None = Field(
        None,
        description="Adaptor that makes the vectors of the hybrid form: a folder, or the name that "
        "`foretaste finetune adaptor` gave it.",
    )
    max_model_len: int = Field(
        4096, ge=64, description="Tokens of prompt and answer together; longer asks are refused."
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="CPU threads of each server of the model; None shares the cores out among them, "
        "or leaves one core to the rest of the program.",
    )
    replicas: int | None = Field(
        None,
        ge=1,
        description="vLLM servers of the model, which share out the asks. None: for a server that "
        "runs on, one a core, at most two, as far as memory allows; one otherwise.",
    )
    dtype: Literal["bfloat16", "float16", "float32"] = Field(
        "bfloat16",
        description="Number format of weights and cache in vLLM. transformers always computes in "
        "float32 on a CPU, which is five times faster there than bfloat16.",
    )
    max_num_seqs: int = Field(
        32, ge=1, description="Asks answered at the same time; more than these wait their turn."
    )
    kv_cache_gb: float = Field(
        1.0,
        gt=0,
        description="Memory for the attention cache in GiB, on a CPU. One GiB holds 46,592 tokens "
        "of the bundled model. On a GPU vLLM takes what is free.",
    )
    enforce_eager: bool = Field(
        True, description="Run without torch.compile: starts sooner, computes somewhat slower."
    )
    prefix_caching: bool = Field(
        True, description="Keep the attention of prompts, so that a shared beginning is read once."
    )
    block_size: int = Field(
        32,
        multiple_of=16,
        gt=0,
        description="Tokens in one piece of the attention cache: prompts share whole pieces only.",
    )
    enable_lora: bool = Field(
        False, description="Accept LoRA adapters, also while running (vLLM's load_lora_adapter)."
    )
    adapters: str | None = Field(
        None,
        description="Adapters loaded at the start, NAME=FOLDER or NAME@VERSION=FOLDER, with commas "
        "between them; switches `enable_lora` on.",
    )
    max_loras: int = Field(2, ge=1, description="Adapters in one batch.")
    max_lora_rank: Literal[8, 16, 32, 64, 128, 256] = Field(
        16, description="Largest rank of an adapter."
    )
    prompt_embeds: bool = Field(
        False, description="Accept prompts given as vectors instead of tokens."
    )
    cores: str | None = Field(
        None,
        description="Cores that vLLM binds its threads to (`0-7`), in a worker process of its own: "
        "for machines with many cores. None starts one process less, unbound.",
    )
    tensor_parallel: int = Field(
        1,
        ge=1,
        description="GPUs that share each layer of one copy of the model; within a machine.",
    )
    pipeline_parallel: int = Field(
        1,
        ge=1,
        description="Groups of GPUs that share the layers out among them, one after another.",
    )
    data_parallel: int = Field(
        1,
        ge=1,
        description="Copies of the model behind one address; tensor · pipeline · data GPUs in all.",
    )
    gpu_memory: float = Field(
        0.9, gt=0, le=1, description="Share of each GPU's memory that vLLM takes."
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address that a vLLM started here listens on. Others than this machine's reach it "
        "at 0.0.0.0; VLLM_API_KEY in the environment is the key that they must send then.",
    )
    port: int | None = Field(None, ge=1, le=65535, description="Port of it; None picks one.")
    restart: bool = Field(
        False, description="Start vLLM again when it ends; for servers that run on."
    )
    startup_timeout_s: float = Field(
        600.0, gt=0, description="Seconds after which a start is given up."
    )

    @property
    def gpus(self) -> int:
        """GPUs that one server of the model needs; on a CPU groups of cores."""
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel


def default_threads() -> int:
    """Threads of a model when none are asked for: the usable cores less one, at least one.

    Two threads that wait for each other on a core that others use too are many times slower than
    one (docs/log.md, 2026-11-21).
    """
    return max(1, usable_cores() - 1)
