"""Runs of a judge over labelled rows: saved, read again, and held against a later one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from foretaste.data.appended import AlteredError, altered, read_line
from foretaste.data.errors import DataError, InputError
from foretaste.data.files import replacing
from foretaste.judge.people.agree import Outcome, Protocol, draws, folds_of
from foretaste.judge.people.agreement import confusion, kappa, spearman
from foretaste.judge.people.labels import Labels
from foretaste.judge.people.methods import Calibrated, Judged
from foretaste.judge.ranking.bootstrap import interval

_SHIFT = ("spearman", "kappa_quadratic", "balanced_accuracy")


def save_run(path: Path, judge: str, labels: Labels, said: Judged) -> None:
    """One line a row: id, score (None when unreadable), level."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        for place, name in enumerate(labels.ids):
            readable = bool(said.readable[place])
            line = {
                "id": name,
                "judge": judge,
                "score": float(said.scores[place]) if readable else None,
                "level": labels.words[int(said.levels[place])] if readable else None,
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_run(path: Path) -> dict[str, float]:
    """Row → score, NaN when unreadable; of a run that `judge agree --save`, `judge run` or
    `judge pairwise` wrote.

    Raises:
        InputError: there is no such file, or a line without id and score.
    """
    if not path.is_file():
        raise InputError(f"A saved run was expected at {path} and none is there.")
    found: dict[str, float] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = read_line(line)
                score = row["score"]
                found[str(row["id"])] = float("nan") if score is None else float(score)
            except AlteredError as error:
                raise altered(path, number) from error
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path}, line {number}, should be a JSON object with id and score; a run of "
                    "`judge run` or `judge agree --save` was expected."
                ) from error
    return found


def write_cases(path: Path, labels: Labels) -> None:
    """The labelled rows as cases for `judge run` or pairs for `judge pairwise`."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        for place, name in enumerate(labels.ids):
            line = {
                "id": name,
                "group": str(int(labels.groups[place])),
                "context": labels.contexts[place],
            }
            answer = "\n".join(labels.answers[place])
            if labels.task == "pairwise":
                line |= {"first": answer, "second": "\n".join(labels.others[place])}
            else:
                line |= {"answer": answer}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def compare(
    labels: Labels, new: Judged, old: dict[str, float], protocol: Protocol
) -> dict[str, Any]:
    """How a judge has moved since an old run, on rows that both judged.

    Returns:
        n, spearman (between both), kappa_quadratic (between their levels, the old run calibrated by
        the same folds), changed (share of other levels), and by metric the change of the agreement
        with people, with its interval over groups.

    Raises:
        InputError: both have fewer than two rows in common.
    """
    before = np.array([old.get(name, np.nan) for name in labels.ids])
    both = new.readable & ~np.isnan(before)
    if int(both.sum()) < 2:
        raise InputError(
            "The old run judged other rows than these; the ids of both must be the same (--id)."
        )
    known = {name: score for name, score in zip(labels.ids, before, strict=True)}
    some = labels.take(both)
    was = _calibrated(some, known, protocol)
    now = Judged(*(getattr(new, name)[both] for name in ("scores", "chances", "levels", "good")))
    drawn = draws(some, {"now": Outcome(now), "was": Outcome(was)}, protocol)
    table = confusion(was.levels, now.levels, len(labels.scale))
    return {
        "n": int(both.sum()),
        "spearman": spearman(was.scores, now.scores),
        "kappa_quadratic": kappa(table, "quadratic", labels.scale),
        "changed": float(np.mean(was.levels != now.levels)),
        "agreement": {
            metric: interval(drawn["now", metric] - drawn["was", metric]) for metric in _SHIFT
        },
    }


def _calibrated(labels: Labels, scores: dict[str, float], protocol: Protocol) -> Judged:
    """The old scores with levels by the same folds."""
    method = Calibrated("old", lambda rows: np.array([scores[name] for name in rows.ids]))
    numbered = np.unique(labels.groups, return_inverse=True)[1].astype(np.int64)
    parts = folds_of(numbered, min(protocol.folds, int(numbered.max()) + 1), protocol.seed)
    levels, good = np.zeros(len(labels), dtype=np.int64), np.zeros(len(labels), dtype=bool)
    found, chances = np.zeros(len(labels)), np.zeros(len(labels))
    for fold in np.unique(parts):
        rows = np.flatnonzero(parts == fold)
        told = method.fit(labels.take(parts != fold)).judge(labels.take(rows))
        levels[rows], good[rows] = told.levels, told.good
        found[rows], chances[rows] = told.scores, told.chances
    return Judged(found, chances, levels, good)
