"""Ray Data: blocks of work through a pool of actors that grows and shrinks.

A cluster is joined where `RAY_ADDRESS` names one; otherwise one of this machine is started for the
block and ended with it. An actor that is killed is started again and its block given to another; what
it had on disk by then is not made twice, which is the concern of the work itself.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

from foretaste.app.fleet.config import FleetConfig
from foretaste.data.errors import EngineError, ForetasteError, InputError

Row = dict[str, Any]
_PASSED_ON = ("FORETASTE_HOME", "FORETASTE_INDEX", "FORETASTE_INDEX_URI")
_LOOK_S = 1.0
#: Settings of a cluster that is started here, unless the environment has others.
USUAL = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # 15 otherwise: workers starve on a busy machine
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # 5 otherwise: too short on a busy machine
}


class Actor(Protocol):
    """What works in a process of its own: made once, given a block at a time."""

    def work(self, block: list[Row], told: Callable[[int], None]) -> list[Row]:
        """The rows made of a block; `told` is called with pieces of work as they are done."""
        ...


@contextmanager
def cluster() -> Iterator[None]:
    """Ray for the block; where it runs in this process already, that is used and left running.

    Raises:
        InputError: Ray is not installed.
        ForetasteError: the cluster does not answer.
    """
    for name, value in USUAL.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--engine ray was asked for and Ray is not installed; install foretaste[ray]."
        ) from error
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == "local" else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # a node that is slow to start is a bare one of Ray's
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ForetasteError(
            f"Ray at {address} does not answer ({first}); run the same command again."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def spread(
    blocks: Sequence[pa.Table],
    make: Callable[[], Actor],
    config: FleetConfig,
    told: Callable[[int], None],
) -> Iterator[Row]:
    """Send blocks through a pool of actors; rows come as they are made, in any order.

    Args:
        blocks: one piece of work each, at least one.
        make: makes an actor where it will work; sent there.
        config: how many actors, and what each may use.
        told: called here with what actors told.

    Raises:
        ForetasteError: an actor's work failed, with its sentence; of the same kind as it was there.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    tally = ray.remote(num_cpus=0)(_Tally).remote()
    most = config.most_workers or max(config.workers, _room(config, len(blocks)))
    pool = ActorPoolStrategy(min_size=config.workers, max_size=most)
    made = ray.data.from_arrow(list(blocks)).map_batches(
        _Member,
        fn_constructor_args=(make, tally),
        compute=pool,
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=config.cpus,
        num_gpus=config.gpus or None,
        runtime_env={"env_vars": passed_on()},
    )
    with _followed(tally, told) as faults:
        for row in made.iter_rows():
            if faults:
                raise faults[0]
            if row["kind"] is not None:
                raise _error(row["kind"], row["value"])
            yield json.loads(row["value"])


def passed_on() -> dict[str, str]:
    """Settings of this process that workers on other machines are given; nothing secret."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


class _Member:
    """What Ray Data makes in each process of the pool."""

    def __init__(self, make: Callable[[], Actor], tally: Any) -> None:
        self._tally = tally
        try:
            self._actor: Actor | ForetasteError = make()
        except ForetasteError as error:  # told with the first block: Ray would try again for ever
            self._actor = error

    def __call__(self, block: pa.Table) -> pa.Table:
        """Kind of the error or null, and a row or the error's sentence."""
        try:
            if isinstance(self._actor, ForetasteError):
                raise self._actor
            rows = self._actor.work(block.to_pylist(), self._tally.add.remote)
        except ForetasteError as error:
            return _told_apart([type(error).__name__], [str(error)])
        return _told_apart(
            [None] * len(rows), [json.dumps(row, ensure_ascii=False) for row in rows]
        )


class _Tally:
    """Counts what all actors told."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, amount: int) -> None:
        """Count more."""
        self._sum += amount

    def total(self) -> int:
        """All that was counted."""
        return self._sum


@contextmanager
def _followed(tally: Any, told: Callable[[int], None]) -> Iterator[list[ForetasteError]]:
    """Tell what the tally counts, now and then and at the end; gives what was said against going on."""
    import ray
    from ray.exceptions import RayError

    ended, seen = threading.Event(), 0
    faults: list[ForetasteError] = []

    def look() -> None:
        nonlocal seen
        try:
            total = int(ray.get(tally.total.remote(), timeout=_LOOK_S))
            told(total - seen)
            seen = total
        except ForetasteError as error:
            faults.append(error)
        except RayError:  # the next look finds it
            return

    def follow() -> None:
        while not ended.wait(_LOOK_S):
            look()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield faults
    finally:
        ended.set()
        thread.join()
    look()
    ray.kill(tally)


def _room(config: FleetConfig, blocks: int) -> int:
    """Workers that the cluster has room for now, not more than there is work."""
    import ray

    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    by_cpu = int(there.get("CPU", 1) // config.cpus)
    by_gpu = int(there.get("GPU", 0) // config.gpus) if config.gpus else by_cpu
    return max(1, min(by_cpu, by_gpu, blocks))


def _told_apart(kinds: Sequence[str | None], values: Sequence[str]) -> pa.Table:
    return pa.table({"kind": pa.array(kinds, pa.string()), "value": pa.array(values, pa.string())})


def _error(kind: str, sentence: str) -> ForetasteError:
    kinds = {one.__name__: one for one in (InputError, EngineError)}
    return kinds.get(kind, ForetasteError)(sentence)
