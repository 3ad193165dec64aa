"""Where a batch runs, and how many workers it has there."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from foretaste.data.errors import InputError

Where = Literal["local", "ray"]


class FleetConfig(BaseModel, frozen=True, extra="forbid"):
    """The workers of `--engine ray`. Set by `--set fleet.<field>=<value>`."""

    workers: int = Field(1, ge=1, description="workers at least")
    most_workers: int | None = Field(
        None, ge=1, description="workers at most; as many as the cluster has room for if unset"
    )
    cpus: float = Field(1, gt=0, description="cores of one worker")
    gpus: float = Field(0, ge=0, description="GPUs of one worker, for an engine of its own")

    @model_validator(mode="after")
    def _in_order(self) -> FleetConfig:
        if self.most_workers is not None and self.most_workers < self.workers:
            raise ValueError("most_workers is below workers")
        return self


def placed(engine: str, llm: str | None, usual: str) -> tuple[Where, str]:
    """Where a batch runs, and how its language model does.

    Args:
        engine: of the command: local or ray; or a way to run the model, which means local.
        llm: the way to run the model beside local or ray, or None.
        usual: that way when nobody says.

    Raises:
        InputError: the model is named twice.

    >>> placed("ray", None, "none"), placed("vllm", None, "none")
    (('ray', 'none'), ('local', 'vllm'))
    """
    if engine == "local" or engine == "ray":
        return ("ray" if engine == "ray" else "local"), llm or usual
    if llm is not None:
        raise InputError(f"--llm stands beside --engine local or ray, not beside {engine!r}.")
    return "local", engine
