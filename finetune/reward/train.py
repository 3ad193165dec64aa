"""`foretaste finetune reward`: from a data set's name, or a judge's verdicts, to a reward model."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from foretaste.agents.retrieval.tools import Tools, load_tools
from foretaste.agents.wording import prompting
from foretaste.data.errors import InputError
from foretaste.data.files import locked, new_folder, replacing, subfolder, write_json, write_sums
from foretaste.data.progress import note
from foretaste.data.store import load_dataset
from foretaste.finetune.language_model import (
    Loaded,
    LoraSettings,
    export_adapter,
    load_base,
    with_lora,
)
from foretaste.finetune.moments import moments
from foretaste.finetune.reward.config import RewardConfig
from foretaste.finetune.reward.data import Group, from_verdicts, in_hindsight, read_groups
from foretaste.finetune.reward.trainer import Loop, Trainer, batches, probe, read
from foretaste.finetune.runs import matmul_flops, open_run, peak_mb, stoppable
from foretaste.serving.reward import (
    HEAD,
    POINTER,
    RECORD,
    RewardNet,
    RewardRecord,
    Spelling,
)

KIND = "reward"
HINDSIGHT = "hindsight"


def train(
    name: str,
    config: RewardConfig,
    resume: bool = False,
    verdicts: tuple[Path, Path] | None = None,
    tools: Tools | None = None,
    preferences: Path | None = None,
) -> dict[str, Any]:
    """Train a reward model, export it and make it the one in use for this data set.

    Args:
        name: of an imported data set.
        config: settings.
        resume: go on where an earlier try with the same settings stopped.
        verdicts: cases and a judge's verdicts on them; tiers come from hindsight when None.
        tools: of the agents; loaded when None.
        preferences: groups of `finetune examples --from feedback`, instead of either.

    Returns:
        The result that is saved with the run: figures of validation, wall_s, peak_mb,
        flops_fraction, best_epoch (from 1 on), bytes.

    Raises:
        InputError: nothing to learn from, nobody to validate with, or no room.
        KeyboardInterrupt: somebody asked to stop; the state is saved.
    """
    start = time.perf_counter()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    groups, judged, record = prepare(name, config, verdicts, tools, preferences)
    told = json.dumps(
        [(one.context, one.answers, one.tiers, one.weights) for one in groups + judged]
    )
    settings = {
        "config": config.model_dump(),
        "record": record.model_dump(exclude={"validation"}),
        "groups": hashlib.sha256(told.encode()).hexdigest()[:16],
    }
    run = open_run(KIND, name, settings, resume)
    if resume and (result := run.finished()):
        note(f"This run is finished; its result stands in {run.folder}.")
        return result
    net, loaded = network(config)
    spelling = Spelling(loaded.tokenizer, config.context_tokens, config.answer_tokens)
    learnt, asked = read(groups, spelling), read(judged, spelling)
    trainer = Trainer(net, config, config.epochs * len(batches(learnt, config, 0)))
    estimate = probe(trainer, learnt, len(asked))
    estimate.check(run.folder)
    loop = Loop(trainer, learnt, asked, run, start)
    if resume:
        loop.restore()
    with stoppable() as stop:
        loop.run_epochs(stop)
    trainer.take(loop.best)
    best = loop.course.curve[loop.course.best_epoch]
    validation = {key: value for key, value in best.items() if key not in ("epoch", "loss")}
    folder = publish(name, net, loaded, record.model_copy(update={"validation": validation}))
    result = _result(loop, folder, estimate.seconds) | {
        "dataset": name,
        "source": record.source,
        "loss": config.loss,
        "groups": len(groups),
        "answers": sum(len(group.answers) for group in groups),
        "validation_groups": len(judged),
        "validation": validation,
        "run": run.folder.name,
    }
    run.finish(result)
    return result


def prepare(
    name: str,
    config: RewardConfig,
    verdicts: tuple[Path, Path] | None,
    tools: Tools | None,
    preferences: Path | None = None,
) -> tuple[list[Group], list[Group], RewardRecord]:
    """Groups to learn from, groups of other people to validate with, and what the model will say.

    Raises:
        InputError: there are too few.
    """
    dataset = load_dataset(name)
    wanted = config.groups + config.validation_groups
    if preferences is not None:
        groups, source = read_groups(preferences)[:wanted], f"preferences in {preferences.name}"
    elif verdicts is not None:
        groups = from_verdicts(*verdicts)[:wanted]
        source = f"verdicts in {verdicts[1].name}"
    else:
        tools = tools or load_tools(dataset)
        found = list(islice(moments(tools, config.future, config.seed), wanted))
        groups = list(in_hindsight(found, tools, config.each, config.seed))
        source = HINDSIGHT
    learnt, judged = parted(groups, config.validation_groups)
    record = RewardRecord(
        base=config.base,
        dataset=name,
        fingerprint=dataset.info.fingerprint,
        source=source,
        loss=config.loss,
        prompts=prompting.fingerprint(),
        context_tokens=config.context_tokens,
        answer_tokens=config.answer_tokens,
    )
    return learnt, judged, record


def parted(groups: Sequence[Group], judged: int) -> tuple[list[Group], list[Group]]:
    """Groups that are learnt from, and at most `judged` and a fifth of them to validate with; no
    owner stands on both sides.

    Raises:
        InputError: there are groups of fewer than two owners.
    """
    owners = list(dict.fromkeys(group.owner for group in groups))
    if len(owners) < 2:
        raise InputError(
            f"A reward model needs answers with tiers about two people or more, and there are "
            f"{len(owners)}; give more data."
        )
    held = set(owners[-max(1, min(judged, len(owners) // 5)) :])
    return (
        [group for group in groups if group.owner not in held],
        [group for group in groups if group.owner in held],
    )


def network(config: RewardConfig) -> tuple[RewardNet, Loaded]:
    """The network over the base model with a fresh adapter; and that model, for its export."""
    settings = LoraSettings(rank=config.rank, alpha=2 * config.rank, blocks=config.blocks)
    loaded = with_lora(load_base(config.base), settings, config.seed)
    causal = loaded.model.get_base_model()
    return RewardNet(causal.model, causal.config.hidden_size), loaded


def publish(name: str, net: RewardNet, loaded: Loaded, record: RewardRecord) -> Path:
    """Write the reward model beside the others of its data set and point to it.

    Adapter and head are bfloat16.

    Returns:
        Its folder.
    """
    from safetensors.torch import save_file

    parent = subfolder("rewards", name)
    weights = {key: p.detach() for key, p in net.named_parameters() if p.requires_grad}
    digest = hashlib.sha256(record.model_dump_json().encode())
    for key in sorted(weights):
        digest.update(weights[key].float().numpy().tobytes())
    folder = parent / digest.hexdigest()[:12]
    with locked(parent):
        if folder.exists():
            shutil.rmtree(folder)
        with new_folder(folder) as part:
            export_adapter(loaded, part, {"what": "reward model"})
            head = {key: value.bfloat16() for key, value in net.head.state_dict().items()}
            with replacing(part / HEAD) as file:
                save_file(head, file)
            write_json(part / RECORD, record.model_dump())
            write_sums(part)
        write_json(parent / POINTER, {"run": folder.name})
    return folder


def _result(loop: Loop, folder: Path, expected: float) -> dict[str, Any]:
    """What the run cost, and how large the export is."""
    course = loop.course
    backbone, config = loop.trainer.net.backbone, loop.trainer.config
    table = backbone.get_input_embeddings().weight  # is looked up, not multiplied with
    weights = sum(p.numel() for p in backbone.parameters()) - table.numel()
    depth = backbone.config.num_hidden_layers
    each = (
        2 * weights * (1 + min(config.blocks, depth) / depth)
    )  # forward, and back to those blocks
    rate = each * course.tokens / max(course.train_s, 1e-9)
    best = matmul_flops(kind=str(table.dtype).removeprefix("torch."))
    return {
        "epochs": course.epoch,
        "best_epoch": course.best_epoch + 1,
        "expected_s": round(expected, 1),
        "wall_s": round(course.wall_s, 1),
        "peak_mb": peak_mb(),
        "flops_fraction": round(rate / best, 3),
        "tokens_per_s": round(course.tokens / max(course.train_s, 1e-9)),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "folder": folder.name,
    }
