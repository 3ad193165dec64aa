"""GGUF to safetensors, once: quantised weights become plain bfloat16 that every engine reads.

The work is done in a child process: it needs torch and a gigabyte of memory for half a minute,
and gives both back.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from foretaste.data.errors import ModelError
from foretaste.data.progress import timed
from foretaste.serving.child import child_environment, die_with_parent

_EXPECTED_SECONDS = 35.0  # 135 million parameters, two cores


def convert_gguf(gguf: Path, folder: Path, *, single_digits: bool = False) -> None:
    """Write the model and tokenizer of one GGUF file into `folder`, readable by transformers.

    Decoding is made explicit (`generation_config.json`: greedy, nothing else), and no mark of
    the former quantisation stays in the configuration.

    Args:
        gguf: the file; every tensor is dequantised.
        folder: an existing folder to write into.
        single_digits: the tokenizer cuts numbers into single digits before anything else, which
            a GGUF file only hints at by the name of its pre-tokenizer (`smollm`).

    Raises:
        ModelError: transformers cannot read this file.
    """
    with gguf.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{gguf.name} is not a GGUF file; fetch it again, it may be damaged.")
    command = [sys.executable, "-P", "-m", "foretaste.serving.convert_gguf", str(gguf), str(folder)]
    with timed(f"{gguf.name} to safetensors", _EXPECTED_SECONDS):
        done = subprocess.run(
            [*command, str(single_digits)],
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(
            f"{gguf.name} could not be converted ({reason[:300]}); "
            "bring the model as safetensors instead."
        )


def _convert(gguf: Path, folder: Path, single_digits: bool) -> None:
    tokenizer, model = _load(gguf)
    if single_digits:
        _cut_numbers(tokenizer)
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)


def _load(gguf: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **where)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        **where,
    )
    model.generation_config = GenerationConfig(
        do_sample=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, model


def _cut_numbers(tokenizer: Any) -> None:
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )


if __name__ == "__main__":
    die_with_parent()
    _convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "True")
