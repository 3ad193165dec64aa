"""`foretaste finetune adaptor`: from a data set's name to an adaptor that the engine finds by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.files import home, read_json, subfolder
from foretaste.data.progress import note
from foretaste.data.splits import leave_one_out
from foretaste.data.store import load_dataset
from foretaste.finetune.adaptor.config import AdaptorConfig
from foretaste.finetune.adaptor.frozen import Frozen
from foretaste.finetune.adaptor.loop import Aligned, Lessons, Loop, Trainer, flops_per_position
from foretaste.finetune.adaptor.prompts import Prompt, prompts_of, shortened
from foretaste.finetune.adaptor.rows import Known, held_out, known_items, questions
from foretaste.finetune.adaptor.start import as_layers, regression, spread_means
from foretaste.finetune.adaptor.teacher import TAUGHT, Answers, taught
from foretaste.finetune.language_model import number_format
from foretaste.finetune.runs import Estimate, Run, matmul_flops, open_run, peak_mb, stoppable
from foretaste.serving.adapters import SETTINGS, check_adapter
from foretaste.serving.chat import ChatModel
from foretaste.serving.embedder import DEFAULT_EMBEDDER, Embedder, fingerprint_of, load_embedder
from foretaste.serving.engine import DEFAULT_MODEL, EngineConfig
from foretaste.serving.hybrid_adaptor import Adaptor, Belongs
from foretaste.serving.hybrid_store import publish
from foretaste.serving.store import model_folder

KIND = "adaptor"
_RANKS = (8, 16, 32, 64, 128, 256)  # that an engine may be opened with
_PROBED = 2  # steps that are timed before the start
_WRITTEN_S = 40.0  # tokens that the teacher writes a second on one busy core, as a rough guess
_ENGINE_S = 60.0  # until the teacher's engine is ready


@dataclass(frozen=True)
class Job:
    """What is trained, for which models, on which data.

    Attributes:
        dataset: the catalogue and its interactions.
        config: settings.
        embedder: reads entities.
        model: name of the language model.
        adapter: folder of the LoRA adapter that is active, or None.
        belongs: what the adaptor will say about itself.
    """

    dataset: Dataset
    config: AdaptorConfig
    embedder: Embedder
    model: str
    adapter: Path | None
    belongs: Belongs

    @property
    def teacher(self) -> Path:
        """The folder of the teacher's answers, of this model with this adapter."""
        own = self.belongs.adapter or "base"
        return subfolder("cache", "teacher", f"{self.belongs.model_fingerprint}-{own}")

    @property
    def engine(self) -> EngineConfig:
        """The engine that the teacher answers with."""
        if self.adapter is None:
            return EngineConfig(model=self.model)
        rank = int(read_json(self.adapter / SETTINGS)["r"])
        room = {"max_lora_rank": next(most for most in _RANKS if most >= rank), "max_loras": 1}
        told = {"model": self.model, "adapters": f"{TAUGHT}={self.adapter.resolve()}"}
        return EngineConfig.model_validate(told | room)


def train(
    name: str,
    config: AdaptorConfig,
    *,
    model: str = DEFAULT_MODEL,
    adapter: Path | None = None,
    embedder: Embedder | str = DEFAULT_EMBEDDER,
    export: str | None = None,
    resume: bool = False,
    engine: ChatModel | None = None,
) -> dict[str, Any]:
    """Train an adaptor on a data set and publish it.

    Args:
        name: of an imported data set.
        config: settings.
        model: the language model, by path, id or `bundled:NAME`; stays as it is.
        adapter: folder of a LoRA adapter that is active while it learns; None for none.
        embedder: reads entities, or its name; stays as it is.
        export: the name that the engine will find it by; the data set's when None.
        resume: go on where an earlier try with the same settings stopped.
        engine: what the teacher answers with; vLLM is started for it when None.

    Returns:
        The result that is saved with the run: validation of the start, the best adaptor and the
        text form, wall_s, peak_mb, flops_fraction, best_epoch (0 is the start).

    Raises:
        InputError: nothing to learn from, or no room.
        ModelError: a model or adapter that is missing or refused.
        KeyboardInterrupt: somebody asked to stop; the state is saved.
    """
    began = time.perf_counter()
    torch.set_num_threads(config.threads)
    job = _job(load_dataset(name), config, model, adapter, embedder)
    decides = {
        "config": config.model_dump(),
        "catalogue": job.dataset.info.fingerprint,
        "belongs": job.belongs.model_dump(),
    }
    run = open_run(KIND, name, decides, resume)
    if resume and (result := run.finished()):
        note(f"This run is finished; its result stands in {run.folder}.")
        return result
    torch.manual_seed(config.seed)
    frozen = Frozen(model, job.adapter)
    items, held = known_items(job.dataset), held_out(len(job.dataset.item_ids), config.held_out, 0)
    prompts = _prompts(job)
    start = _start(job, frozen, items, np.flatnonzero(~held))
    estimate = None if resume else _estimate(job, frozen, start, items, prompts)
    if estimate is not None:
        estimate.check(run.folder)
    answers = Answers(job.teacher)
    asyncio.run(answers.ask(prompts, engine or job.engine))
    lessons = _lessons(job, frozen, items, held, prompts, answers)
    loop = Loop(Trainer(frozen, start, job.embedder, lessons, config), run, began)
    if estimate is not None:
        loop.course.expected_s = round(estimate.seconds, 1)
    else:
        loop.restore()
    with stoppable() as stop:
        loop.run_epochs(stop)
    return _finish(job, run, loop, export or name)


def _job(
    dataset: Dataset,
    config: AdaptorConfig,
    model: str,
    adapter: Path | None,
    embedder: Embedder | str,
) -> Job:
    if len(dataset.item_ids) < 2:
        raise InputError(
            f"An adaptor learns from two items or more, and {dataset.name} has "
            f"{len(dataset.item_ids)}; import a catalogue."
        )
    encoder = load_embedder(embedder) if isinstance(embedder, str) else embedder
    belongs = Belongs(
        embedder=encoder.name,
        embedder_fingerprint=encoder.fingerprint,
        model=model,
        model_fingerprint=fingerprint_of(model_folder(model)),
        adapter=None if adapter is None else check_adapter(adapter, _RANKS[-1])[:16],
    )
    return Job(dataset, config, encoder, model, adapter, belongs)


def _prompts(job: Job) -> list[Prompt]:
    """What the teacher is asked, with room for as many tokens as are learnt from."""
    config, train_part = job.config, leave_one_out(job.dataset).train
    made = prompts_of(
        job.dataset, train_part, job.embedder, config.histories, config.events, config.seed
    )
    return [shortened(one, config.answer_tokens) for one in made]


def _start(job: Job, frozen: Frozen, items: Sequence[Known], rows: NDArray[np.int64]) -> Adaptor:
    """Each entity's vector begins as the mean of its tokens' own, spread as tokens are."""
    draw = np.random.default_rng([job.config.seed, 3])
    some = [items[row] for row in draw.permutation(rows)[: job.config.start]]
    texts = sorted({one.text for item in some for one in (item.entity, item.short)})
    own = [frozen.table[frozen.writer.tokens(f" {text}")].float().numpy() for text in texts]
    weights, offset = regression(job.embedder.encode(texts), spread_means(own))
    return as_layers(weights, offset, job.config.hidden, job.belongs, job.config.seed)


def _lessons(
    job: Job,
    frozen: Frozen,
    items: Sequence[Known],
    held: NDArray[np.bool_],
    prompts: Sequence[Prompt],
    answers: Answers,
) -> Lessons:
    config = job.config
    draw = np.random.default_rng([config.seed, 5])
    asked = questions(items, np.flatnonzero(held), config.questions, config.entities, 0.0, draw)
    told = [(one, row) for one, row in zip(prompts, answers.rows(prompts), strict=True) if row]
    histories = sorted({one.history for one, _ in told})
    apart = held_out(len(histories), config.held_out, config.seed)
    validates = {number for number, kept in zip(histories, apart, strict=True) if kept}
    rows = [row for _, row in told]
    aligned = [
        Aligned(row, states)
        for row, states in zip(rows, taught(frozen, rows, job.teacher), strict=True)
    ]
    sides = [one.history in validates for one, _ in told]
    return Lessons(
        items=items,
        rows=np.flatnonzero(~held),
        aligned=[one for one, validating in zip(aligned, sides, strict=True) if not validating],
        asked=asked,
        held=[one for one, validating in zip(aligned, sides, strict=True) if validating],
    )


def _estimate(
    job: Job,
    frozen: Frozen,
    start: Adaptor,
    items: Sequence[Known],
    prompts: Sequence[Prompt],
) -> Estimate:
    """Time a few steps on an adaptor that is thrown away; the teacher's part is a rough guess."""
    config = job.config
    draw = np.random.default_rng(0)
    rows = np.arange(len(items))
    asked = questions(items, rows, config.questions, config.entities, 0.0, draw)
    trainer = Trainer(frozen, start, job.embedder, Lessons(items, rows, [], asked, []), config)
    trainer.step()  # warms up
    begin = time.perf_counter()
    for _ in range(_PROBED):
        trainer.step()
    step_s = (time.perf_counter() - begin) / _PROBED
    begin = time.perf_counter()
    trainer.measure()
    measure_s = 2 * (time.perf_counter() - begin)
    missing = Answers(job.teacher).missing(prompts)
    written = sum(one.ask.max_tokens for one in missing)
    teacher_s = _ENGINE_S + written / _WRITTEN_S if missing else 0.0
    seconds = trainer.steps * step_s + (config.epochs + 2) * measure_s + teacher_s
    width = frozen.table.shape[1]
    disk = 4 * width * len(prompts) * config.answer_tokens + 20 * start.w1.nbytes
    return Estimate(seconds, peak_mb() * 1.2, disk / 1e6)


def _finish(job: Job, run: Run, loop: Loop, export: str) -> dict[str, Any]:
    """Publish the best adaptor, and say how it went."""
    begin = time.perf_counter()
    trainer, course = loop.trainer, loop.course
    rate = flops_per_position(trainer) * course.positions / max(course.train_s, 1e-9)
    trainer.net.load_state_dict(loop.best)
    adaptor = trainer.net.adaptor(job.belongs)
    folder = publish(export, adaptor)
    best = next(row for row in course.curve if row["epoch"] == course.best_epoch + 1)
    figures = ("questions", "right", "alignment")
    result = {
        "dataset": job.dataset.name,
        "name": export,
        "model": job.model,
        "adapter": job.belongs.adapter,
        "weights": sum(value.numel() for value in trainer.net.parameters()),
        "validation": {
            "start": {name: course.curve[0][name] for name in figures},
            "best": {name: best[name] for name in figures},
            "text": trainer.measure(text=True),
        },
        "epochs": course.epoch,
        "best_epoch": course.best_epoch + 1,
        "positions": course.positions,
        "expected_s": course.expected_s,
        "wall_s": round(course.wall_s + time.perf_counter() - begin, 1),
        "peak_mb": peak_mb(),
        "flops_fraction": round(rate / matmul_flops(kind=number_format()), 3),
        "run": run.folder.name,
        "folder": str(folder.relative_to(home())),
    }
    run.finish(result)
    return result
