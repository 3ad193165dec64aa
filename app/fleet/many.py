"""The road of `foretaste recommend --all`: check the call, find what is left, work, count."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Request
from foretaste.agents.wording import prompting
from foretaste.app.fleet.config import FleetConfig, Where
from foretaste.app.fleet.folder import Folder, Manifest, Part
from foretaste.app.fleet.people import parted, people_of, usual_partitions
from foretaste.app.fleet.spread import Row, cluster, spread
from foretaste.app.fleet.worker import Given, Worker
from foretaste.app.recommending import Call, EngineChoice, engine_of, request_of, surroundings_of
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.progress import Meter, meter, note
from foretaste.data.settings import groups_known, override
from foretaste.data.store import load_dataset
from foretaste.finetune.runs import peak_mb

_PROBED = 16  # users after which the rest is estimated
_SPARE = 0.9  # share of the free disk that a batch may take


class ManyCall(EngineChoice, frozen=True):
    """The options of one `foretaste recommend --all`; see its help."""

    dataset: str
    out: Path
    where: Where = "local"
    users: Path | None = None
    n: int = 10
    categories: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    include_consumed: bool = False
    seed: int = 0
    mode: str = "hierarchical"
    partitions: int | None = None
    concurrency: int | None = None


def run_many(call: ManyCall) -> dict[str, Any]:
    """Recommend to every user who has no row yet; the figures of the whole folder.

    Raises:
        InputError: something is wrong with the call; nothing was begun.
        EngineError: the language model is gone; what was made is kept, and the same call goes on.
    """
    groups_known(call.settings, ("agents", "engine", "environment", "fleet"))
    override(AgentsConfig(), "agents", call.settings)
    fleet = override(FleetConfig(), "fleet", call.settings)
    choice = _choice(call)
    request = request_of(_one(call))
    dataset = load_dataset(call.dataset)
    if not request.filters.mask(dataset.items).any():
        raise InputError(
            f"No item of {dataset.name} passes the filters; loosen them or check their spelling."
        )
    users = people_of(dataset, call.users)
    folder = Folder(call.out, call.partitions or usual_partitions(len(users)))
    told = list(surroundings_of(choice).texts(dataset))
    day = folder.begin(_made_of(call, choice, request, dataset, users, folder.partitions), told)
    given = Given(
        choice=choice,
        dataset=call.dataset,
        request=request.model_copy(update={"environment": tuple(day)}),
        folder=call.out.resolve(),
        partitions=folder.partitions,
        concurrency=call.concurrency or (1 if engine_of(choice) is None else 16),
    )
    start = time.monotonic()
    with folder.manifest() as manifest:
        left = {
            partition: own
            for partition, own in parted(users, folder.partitions).items()
            if partition not in manifest.parts
        }
        waiting = sum(map(len, left.values())) - sum(map(folder.begun, left))
        _introduce(len(users), waiting, folder)
        with meter("Recommend", waiting, "users") as progress:
            told_by = _Estimate(progress, waiting, folder.path)
            if call.where == "ray":
                done = _on_ray(given, left, fleet, told_by)
            else:
                done = _here(given, dataset, left, told_by)
            for part in done:
                manifest.add(part)
        folder.end()
        named = {"dataset": call.dataset, "engine": call.where, "out": str(call.out)}
        return named | _figures(manifest, waiting, time.monotonic() - start)


def _here(
    given: Given, dataset: Dataset, left: dict[int, list[str]], told: Callable[[int], None]
) -> Iterator[Part]:
    """The partitions, one after the other in this process."""
    if not left:
        return
    with Worker(given, dataset) as worker:
        for partition, users in left.items():
            yield worker.work(partition, users, told)


def _on_ray(
    given: Given, left: dict[int, list[str]], fleet: FleetConfig, told: Callable[[int], None]
) -> Iterator[Part]:
    """The partitions, by a pool of actors."""
    if not left:
        return
    blocks = [
        pa.table({"partition": [partition], "users": [users]}) for partition, users in left.items()
    ]
    with cluster():
        for row in spread(blocks, partial(PartitionActor, given), fleet, told):
            yield Part.model_validate(row)


class PartitionActor:
    """A worker in a process of Ray's: a row of a block is a partition with its users."""

    def __init__(self, given: Given) -> None:
        self._worker = Worker(given).__enter__()

    def work(self, block: list[Row], told: Callable[[int], None]) -> list[Row]:
        """The manifest lines of these partitions."""
        parts = [self._worker.work(row["partition"], row["users"], told) for row in block]
        return [part.model_dump() for part in parts]


class _Estimate:
    """Counts users, and says after the first of them what the others will take."""

    def __init__(self, progress: Meter, users: int, folder: Path) -> None:
        self._progress, self._users, self._folder = progress, users, folder
        self._start, self._first, self._done = 0.0, 0, 0
        self._said = users <= _PROBED

    def __call__(self, users: int) -> None:
        """Count more users.

        Raises:
            InputError: the disk has no room for the others.
        """
        if not users:
            return
        self._progress.advance(users)
        self._done += users
        if not self._first:  # what came before was loading
            self._start, self._first = time.monotonic(), self._done
        elif not self._said and self._done - self._first >= _PROBED:
            self._said = True
            self._say((time.monotonic() - self._start) / (self._done - self._first))

    def _say(self, seconds: float) -> None:
        """Tell what a user takes, and what is left."""
        left = self._users - self._done
        here = sum(one.stat().st_size for one in self._folder.rglob("part-*"))
        disk = here / self._done * left
        self._progress.say(
            f"about {seconds * left:,.0f} s ({1 / seconds:,.1f} users a second), {peak_mb():,} MB of "
            f"memory here and {disk / 1e6:,.1f} MB of disk are expected for the other {left:,} users."
        )
        free = shutil.disk_usage(self._folder).free
        if disk > free * _SPARE:
            raise InputError(
                f"About {disk / 1e6:,.0f} MB of disk are needed for {self._folder} and "
                f"{free / 1e6:,.0f} MB are free; free some, and run the same command again."
            )


def _introduce(users: int, waiting: int, folder: Folder) -> None:
    done = f", {users - waiting:,} of them done before" if waiting < users else ""
    note(f"{users:,} users{done}, in {folder.partitions} partitions of {folder.path}.")


def _choice(call: ManyCall) -> EngineChoice:
    """What concerns the agents and their model; an actor starts one server, and no second."""
    own = tuple(one for one in call.settings if not one.startswith("fleet."))
    if call.where == "ray" and call.engine == "vllm" and not call.endpoint:
        own = ("engine.replicas=1", *own)
    names = EngineChoice.model_fields
    choice = EngineChoice.model_validate({name: getattr(call, name) for name in names})
    return choice.model_copy(update={"settings": own})


def _one(call: ManyCall) -> Call:
    """The same call for one user."""
    shared = {name: getattr(call, name) for name in Call.model_fields if hasattr(call, name)}
    return Call.model_validate(shared | {"user": "everybody"})


def _made_of(
    call: ManyCall,
    choice: EngineChoice,
    request: Request,
    dataset: Dataset,
    users: Iterable[str],
    partitions: int,
) -> dict[str, Any]:
    """All that decides the rows. Where they are made does not."""
    engine = engine_of(choice)
    alike = {"replicas", "port", "threads", "cores", "kv_cache_gb"}  # decide the speed alone
    return {
        "data set": {"name": dataset.name, "fingerprint": dataset.info.fingerprint},
        "users": hashlib.sha256("\0".join(users).encode("utf-8", "replace")).hexdigest(),
        "partitions": partitions,
        "request": request.model_dump(mode="json", exclude={"user_id", "environment"}),
        "agents": override(AgentsConfig(), "agents", call.settings).model_dump(mode="json"),
        "model": None if engine is None else engine.model_dump(mode="json", exclude=alike),
        "prompts": prompting.fingerprint(),
        "version": version("foretaste"),
    }


def _figures(manifest: Manifest, waiting: int, seconds: float) -> dict[str, Any]:
    """What stands in the folder now, and what this run did."""
    parts = list(manifest.parts.values())

    def total(name: str) -> int:
        return sum(getattr(part, name) for part in parts)

    return {
        "users": total("users"),
        "failed": total("failed"),
        "partitions": len(parts),
        "bytes": total("bytes"),
        "calls": total("calls"),
        "fallbacks": total("fallbacks"),
        "tokens": {name: total(name) for name in ("prompt", "cached", "completion")},
        "made_now": waiting,
        "seconds": round(seconds, 1),
    }
