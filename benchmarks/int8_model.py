"""Write an 8-bit copy of a language model, to compare engines with: W8A8 in compressed-tensors form.

    python benchmarks/int8_model.py --model bundled:smollm2-135m-instruct --out FOLDER

Every linear layer but the output head is rounded to int8 with one scale for each output channel
(symmetric, largest magnitude to 127); vLLM rounds the activations token by token while it runs and
multiplies in int8 (AVX-512 VNNI on CPUs that have it).
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from foretaste.serving.store import model_folder

ROUNDED = ("_proj.weight",)  # linear layers of Llama-like models
EIGHT_BITS = {"num_bits": 8, "type": "int", "symmetric": True}
CONFIG = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": EIGHT_BITS | {"strategy": "channel", "dynamic": False},
            "input_activations": EIGHT_BITS | {"strategy": "token", "dynamic": True},
        }
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", default="bundled:smollm2-135m-instruct")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    source = model_folder(options.model)
    shutil.copytree(
        source, options.out, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True
    )
    made: dict[str, torch.Tensor] = {}
    for path in sorted(source.glob("*.safetensors")):
        for name, weight in load_file(path).items():
            made |= rounded(name, weight) if name.endswith(ROUNDED) else {name: weight}
    save_file(made, options.out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((options.out / "config.json").read_text(encoding="utf-8"))
    text = json.dumps(config | {"quantization_config": CONFIG}, indent=1)
    (options.out / "config.json").write_text(text, encoding="utf-8")


def rounded(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """The int8 weight (out, in) and its scales (out, 1) under the names that the format has."""
    scale = weight.float().abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127  # (out, 1)
    whole = (weight.float() / scale).round().clamp(-128, 127).to(torch.int8)
    return {name: whole, name.replace(".weight", ".weight_scale"): scale.to(weight.dtype)}


if __name__ == "__main__":
    main()
