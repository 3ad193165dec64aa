"""Settings of `finetune judge-head`, their presets, and what may be changed from the command line."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from foretaste.finetune.presets import configured
from foretaste.judge.people.calibration import Kind

GROUP = "head"  # of `--set head.FIELD=VALUE`


class HeadConfig(BaseModel, frozen=True, extra="forbid"):
    """How a head is fitted. What has several values is chosen by inner cross-validation.

    Attributes:
        inner_folds: parts of the groups behind every choice and the calibration.
        table_width, asked_width, said_width: of the kernel's three parts.
        ridge: of the kernel machine, to choose from.
        landmarks: rows that it may rest on; with more rows it is fitted to all by so many of them
            (subset of regressors, Smola and Schölkopf 2000).
        shares: weights of the kernel machine beside the trees, to choose from.
        rounds: trees at most; how many is chosen.
        depth: of a tree.
        leaf: rows of a leaf, at least.
        rate: what each tree adds (Friedman 2001).
        columns, subsample: shares of features and of rows that a split and a tree see.
        axes: principal directions on which trees see the vectors.
        rater_share: weight of the raters' mean beside the label they came to.
        neighbours: whether an answer is seen among all that the reference could have answered.
        calibration: isotonic or platt.
        seed: of folds and trees.
    """

    inner_folds: int = Field(3, ge=2)
    table_width: float = Field(0.5, gt=0)
    asked_width: float = Field(2.0, ge=0)
    said_width: float = Field(3.0, ge=0)
    ridge: tuple[float, ...] = (0.3, 1.0, 3.0)
    landmarks: int = Field(4000, ge=10)
    shares: tuple[float, ...] = (0.3, 0.5, 0.7, 1.0)
    rounds: int = Field(200, ge=1)
    depth: int = Field(4, ge=1)
    leaf: int = Field(20, ge=1)
    rate: float = Field(0.05, gt=0)
    columns: float = Field(0.15, gt=0, le=1)
    subsample: float = Field(0.6, gt=0, le=1)
    axes: int = Field(32, ge=1)
    rater_share: float = Field(0.5, ge=0, le=1)
    neighbours: bool = True
    calibration: Kind = "isotonic"
    seed: int = 0


def load_config(preset: str = "cpu", changes: Sequence[str] = ()) -> HeadConfig:
    """The preset with every `head.FIELD=VALUE` of `changes`.

    Raises:
        InputError: no such preset, or a change that is not one.
    """
    return configured(HeadConfig, "judge_head", GROUP, preset, changes)
