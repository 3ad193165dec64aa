"""`foretaste finetune sft`: rows in, an adapter out; estimated, stoppable, resumable."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foretaste.data.errors import InputError
from foretaste.data.files import read_json, safe_name, subfolder
from foretaste.data.progress import meter, note
from foretaste.finetune.examples.make import unlike
from foretaste.finetune.examples.rows import CARD, Row, counts, fingerprint, load
from foretaste.finetune.language_model import (
    Loaded,
    answer_loss,
    export_adapter,
    load_base,
    load_lora_state,
    with_adapter,
    with_lora,
)
from foretaste.finetune.runs import Estimate, Run, open_run, peak_mb, stoppable
from foretaste.finetune.sft.config import SftConfig
from foretaste.finetune.sft.data import Tokens, batches, padded, tokenised
from foretaste.finetune.sft.trainer import Course, Keeper, autocast, build, validation_loss
from foretaste.finetune.states import named, remember, taken_up
from foretaste.serving.adapters import check_adapter
from foretaste.serving.shipped import adapter_folder, record_of

KIND = "sft"
_MAX_RANK = 256
_PROBED = 3  # steps that are timed before the start, the first of which warms up


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        name: of what comes out.
        config: settings.
        rows: what is learnt.
        held: what chooses the checkpoint.
        order: places of `rows`, a list a step.
        about: what the adapter will say of its data.
    """

    name: str
    config: SftConfig
    rows: list[Tokens]
    held: list[Tokens]
    order: list[list[int]]
    about: dict[str, Any]


def train(
    paths: Sequence[Path],
    name: str,
    config: SftConfig,
    resume: bool = False,
    command: str = "",
    begin: str | None = None,
) -> dict[str, Any]:
    """Train a LoRA on rows, export the best checkpoint into `<home>/adapters/<name>`.

    Args:
        paths: folders or files of `finetune examples`.
        name: of the adapter.
        config: settings.
        resume: go on where an earlier try with the same settings stopped.
        command: what was called, for the adapter's record.
        begin: adapter whose weights are trained further, by name or folder; None for a fresh LoRA.

    Returns:
        The result that is saved with the run: losses, wall_s, peak_mb, flops_fraction, best_epoch.

    Raises:
        InputError: no rows, rows for other prompts, too few of them, no room, or `begin` is of another
            model.
        KeyboardInterrupt: somebody asked to stop; the state is saved.
    """
    start = time.perf_counter()
    safe_name(name)
    torch.set_num_threads(config.threads)
    rows = unlike([row for path in paths for row in load(path)])
    settings = {"config": config.model_dump(), "rows": _digest(rows), "prompts": fingerprint()}
    first = _first(begin, config)
    settings |= {"begin": first["sha256"]} if first else {}
    run = open_run(KIND, name, settings, resume)
    if resume and (result := run.finished()):
        note(f"This run is finished; its result stands in {run.folder}.")
        return result
    base = load_base(config.model, config.kind)
    if first:
        loaded = with_adapter(base, Path(first["folder"]), trained=True)
    else:
        loaded = with_lora(base, config.lora(), config.seed)
    job = _job(name, config, rows, paths, loaded)
    job.about.update(command=command, code=f"foretaste {version('foretaste')}, {_commit()}")
    job.about.update({"begin": first["record"]} if first else {})
    with stoppable() as stop:
        course, tensors = taken_up(run, resume, Course())
        earlier_s = course.wall_s
        found = probe(loaded, job)
        course.steps = course.steps or found.steps(job)
        job = replace(job, order=spread(job.order, course.steps))
        found.estimate(course.steps - course.step, config).check(run.folder)
        with meter("Fine-tuning", course.steps - course.step, "steps") as progress:
            keeper = Keeper(loaded, config, run, course, job.held, stop, progress)
            _go(job, run, loaded, keeper, tensors)
        if keeper.interrupted:
            note("Saved; the same command with --resume goes on from here.")
            raise KeyboardInterrupt
    return _finish(job, run, loaded, keeper, found, earlier_s + time.perf_counter() - start)


def _first(begin: str | None, config: SftConfig) -> dict[str, Any]:
    """Folder, checksum and record of the adapter to begin with; empty for a fresh LoRA."""
    if begin is None:
        return {}
    folder = adapter_folder(begin)
    digest, record = check_adapter(folder, _MAX_RANK), record_of(folder)
    if record.get("base", config.model) != config.model:
        raise InputError(
            f"The adapter {begin} is of {record['base']}, and {config.model} is trained; set sft.model."
        )
    told = {key: record[key] for key in ("command", "code", "training", "begin") if key in record}
    return {"folder": str(folder), "sha256": digest, "record": {"sha256": digest, **told}}


@dataclass(frozen=True)
class Probe:
    """What a few steps showed.

    Attributes:
        step_s: wall seconds of a step.
        row_s: wall seconds of one validation row.
        flops_per_token: of matrix products, forward and backward.
        start_loss: validation loss of the untrained model.
        memory_mb: resident memory at the peak so far.
    """

    step_s: float
    row_s: float
    flops_per_token: float
    start_loss: dict[str, float]
    memory_mb: float

    def steps(self, job: Job) -> int:
        """Steps of the whole training: all, or as many as `config.minutes` has room for."""
        config, room = job.config, 60 * job.config.minutes
        if not room:
            return len(job.order)
        asked_s = config.validations * self.row_s * len(job.held)
        fitting = int(max(room - asked_s, 0) / self.step_s)
        steps = max(1, min(len(job.order), fitting))
        if steps < len(job.order):
            note(f"{config.minutes:g} minutes have room for {steps} of {len(job.order)} steps.")
        return steps

    def estimate(self, steps: int, config: SftConfig) -> Estimate:
        """Of what is left to do."""
        seconds = steps * self.step_s + config.validations * self.row_s * config.validation_rows
        return Estimate(seconds, self.memory_mb + 200, 100)


def probe(loaded: Loaded, job: Job) -> Probe:
    """Time steps of several lengths and the validation of the untrained model; nothing is changed."""
    from torch.utils.flop_counter import FlopCounterMode

    places = np.linspace(0, len(job.order) - 1, _PROBED).astype(int)
    some = [[job.rows[row] for row in job.order[place]] for place in places]
    with FlopCounterMode(display=False) as counter:
        tokens = _step(loaded, some[0])
    flops = counter.get_total_flops() / tokens
    start = time.perf_counter()
    for rows in some:
        _step(loaded, rows)
    step_s = (time.perf_counter() - start) / len(some)
    start = time.perf_counter()
    held = validation_loss(loaded, job.held, job.config.batch)
    row_s = (time.perf_counter() - start) / len(job.held)
    loaded.model.zero_grad(set_to_none=True)
    return Probe(step_s, row_s, flops, held, peak_mb())


def spread(order: Sequence[list[int]], steps: int) -> list[list[int]]:
    """So many steps out of all, evenly, so that every stage of the curriculum keeps its share."""
    places = np.linspace(0, len(order) - 1, min(steps, len(order))).astype(int)
    return [order[place] for place in places]


def _step(loaded: Loaded, rows: Sequence[Tokens]) -> int:
    """Forward and backward of one step; returns its tokens."""
    made = padded(rows, loaded.tokenizer.pad_token_id)
    inputs = {key: value.to(loaded.model.device) for key, value in made.items()}
    with autocast(loaded):
        loss, count = answer_loss(loaded.model, inputs)
    (loss / max(count, 1)).backward()
    return int(inputs["attention_mask"].sum())


def _job(
    name: str, config: SftConfig, rows: Sequence[Row], paths: Sequence[Path], loaded: Loaded
) -> Job:
    learnt = [row for row in rows if row.part == "train"]
    held = [row for row in rows if row.part == "validation"]
    own, long = tokenised(learnt, loaded.tokenizer, config.tokens)
    kept, _ = tokenised(held, loaded.tokenizer, config.tokens)
    draw = np.random.default_rng(config.seed)
    kept = [kept[n] for n in np.sort(draw.permutation(len(kept))[: config.validation_rows])]
    if not own or not kept:
        raise InputError(
            f"Rows to learn and rows to validate with, of at most {config.tokens} tokens, were "
            f"expected, and {len(own)} and {len(kept)} came; make more rows, or set sft.tokens higher."
        )
    if long:
        note(f"{long} rows are longer than {config.tokens} tokens and are left out.")
    about = {
        "rows": counts(rows),
        "rows_left_out": long,
        "prompts": fingerprint(),
        "data": [_card(path) for path in paths],
    }
    return Job(
        name, config, own, kept, batches(own, config.batch, config.epochs, config.seed), about
    )


def _card(path: Path) -> dict[str, Any]:
    """What a data card says that belongs to a model: data, terms, settings; empty without one."""
    card = (path if path.is_dir() else path.parent) / CARD
    if not card.is_file():
        return {}
    wanted = ("dataset", "data_fingerprint", "terms", "rows", "rejects", "split", "settings")
    told = dict(read_json(card))
    return {key: told[key] for key in wanted if key in told}


def _go(job: Job, run: Run, loaded: Loaded, keeper: Keeper, tensors: dict[str, Any]) -> None:
    """Train what is left."""
    if tensors:
        load_lora_state(loaded.model, named(tensors, "net."))
        keeper.best = named(tensors, "best.")
    if keeper.course.step >= len(job.order):
        return
    trainer = build(loaded, job.config, job.rows, job.order, keeper, run.folder / "trl")
    if tensors:
        remember(keeper.optimizer, named(tensors, "adam."))
    trainer.train()


def _finish(
    job: Job, run: Run, loaded: Loaded, keeper: Keeper, found: Probe, wall_s: float
) -> dict[str, Any]:
    """Export the best checkpoint, say how it went.

    `flops_fraction` compares matrix products a second with the best of one large product in the same
    number format, measured now: where others use the machine, both are theirs to slow down.
    """
    from foretaste.finetune.runs import matmul_flops

    load_lora_state(loaded.model, keeper.best)
    course = keeper.course
    speed = course.tokens * found.flops_per_token / max(course.train_s, 1e-9)
    result = {
        "adapter": job.name,
        "base": loaded.name,
        "number_format": loaded.kind,
        "rows": len(job.rows),
        "validation_rows": len(job.held),
        "steps": len(job.order),
        "tokens": course.tokens,
        "tokens_per_s": round(course.tokens / max(course.train_s, 1e-9), 1),
        "validation": {"untrained": found.start_loss, "trained": course.curve[-1]},
        "best_loss": course.best,
        "best_step": course.best_step,
        "best_epoch": round(course.best_step * job.config.epochs / len(job.order), 2),
        "seed": job.config.seed,
        "wall_s": round(wall_s, 1),
        "train_s": round(course.train_s, 1),
        "peak_mb": peak_mb(),
        "flops_fraction": round(speed / matmul_flops(kind=loaded.kind), 3),
        "run": run.folder.name,
    }
    folder = subfolder("adapters") / job.name
    digest = export_adapter(
        loaded, folder, job.about | {"training": result, "agents": _agents(job)}
    )
    result |= {"folder": str(folder), "sha256": digest}
    run.finish(result)
    return result


def _agents(job: Job) -> dict[str, Any]:
    """The agents' settings that the rows were made with: the adapter is served with them."""
    settings: dict[str, Any] = {}
    for card in job.about["data"]:
        settings |= card.get("settings", {}).get("agents", {})
    return settings


def _commit() -> str:
    """The commit of a checkout; `no checkout` for an installed package."""
    head = Path(__file__).resolve().parents[2] / ".git" / "HEAD"
    try:
        told = head.read_text("utf-8").strip()
        if told.startswith("ref: "):
            told = (head.parent / told.removeprefix("ref: ")).read_text("utf-8").strip()
    except OSError:
        return "no checkout"
    return f"commit {told[:12]}"


def _digest(rows: Sequence[Row]) -> str:
    """16 hex digits over all rows."""
    total = hashlib.sha256()
    for row in rows:
        total.update(row.model_dump_json().encode())
    return total.hexdigest()[:16]
