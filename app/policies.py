"""The road of `foretaste judge policies`: flags to tables, and the report as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretaste.data.errors import InputError
from foretaste.judge.people.drift import read_run
from foretaste.judge.policies.assess import Beside, assess
from foretaste.judge.policies.log import LogColumns, read_log, read_policy


@dataclass(frozen=True)
class PoliciesCall:
    """The options of one `judge policies`; see its help."""

    log: Path
    policies: tuple[str, ...]
    columns: LogColumns
    judged: tuple[str, ...] = ()
    ranking: tuple[str, ...] = ()
    online: tuple[str, ...] = ()
    clip: float | None = None
    resamples: int = 1000
    seed: int = 0


def run_policies(call: PoliciesCall) -> dict[str, Any]:
    """Everything that is said of the policies; the object of `judge policies --json`.

    Raises:
        InputError: a flag of another form, or a table that is not what it must be.
    """
    log = read_log(call.log, call.columns)
    candidates = [
        read_policy(name, Path(path), call.columns, log)
        for name, path in _named("--policy", call.policies)
    ]
    beside = Beside(
        judged={name: _mean_score(Path(path)) for name, path in _named("--judged", call.judged)},
        ranking=_figures("--ranking", call.ranking),
        online=_figures("--online", call.online),
    )
    clip = float("inf") if call.clip is None else call.clip
    return assess(log, candidates, beside, clip=clip, resamples=call.resamples, seed=call.seed)


def told_policies(report: dict[str, Any]) -> Iterator[str]:
    """The report, a line each."""
    logging = report["logging"]
    yield (
        f"Logged: {logging['n']:,} impressions, {logging['contexts']:,} contexts, "
        f"value {logging['value']:.4f}."
    )
    yield f"  {'policy':<16} {'DR effect (95 %)':>30} {'IPS':>9} {'SNIPS':>9} {'judge':>7} {'rank':>7}"
    for name, row in report["policies"].items():
        low, high = row["dr"]["effect_interval"] or (float("nan"),) * 2
        effect = f"{row['dr']['effect']:+.4f} ({low:+.4f} to {high:+.4f})"
        cells = [row["ips"]["value"], row["snips"]["value"], row["judge_score"], row["ranking"]]
        shown = ["–" if cell is None else f"{cell:.4f}" for cell in cells]
        yield (
            f"  {name[:16]:<16} {effect:>30} {shown[0]:>9} {shown[1]:>9} {shown[2]:>7} {shown[3]:>7}"
        )
        if row["warning"]:
            yield f"    {row['warning']}: {row['effective_n']:.0f} effective impressions"
    for estimator, by_k in report["sharpe_ratio"].items():
        known = ", ".join(f"@{k} {value:.2f}" for k, value in by_k.items() if value is not None)
        if known:
            yield f"  SharpeRatio of {estimator} by {report['sharpe_ratio_by']}: {known}"


def _named(flag: str, given: Sequence[str]) -> list[tuple[str, str]]:
    """NAME=VALUE flags."""
    found = []
    for one in given:
        name, equals, value = one.partition("=")
        if not name or not equals or not value:
            raise InputError(f"{flag} expects NAME=VALUE, not {one!r}.")
        found.append((name, value))
    return found


def _figures(flag: str, given: Sequence[str]) -> dict[str, float]:
    found = {}
    for name, value in _named(flag, given):
        try:
            found[name] = float(value)
        except ValueError as error:
            raise InputError(f"{flag} expects a number for {name}, not {value!r}.") from error
    return found


def _mean_score(path: Path) -> float:
    """The mean of a run's readable scores."""
    scores = np.array(list(read_run(path).values()))
    if np.isnan(scores).all():
        raise InputError(f"No judgement of {path} is readable, so it has no mean score.")
    return float(np.nanmean(scores))
