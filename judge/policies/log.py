"""Logged recommendations with propensities and feedback, and candidate policies, from tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foretaste.data.errors import DataError, InputError
from foretaste.judge.people.labels import read_table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LogColumns:
    """Which columns of a log are what; a policy's table has the first two and `probability`.

    `person` says whose contexts are drawn together; each context stands alone when it is None.
    """

    context: str = "user_id"
    action: str = "item_id"
    reward: str = "reward"
    propensity: str = "propensity"
    probability: str = "probability"
    person: str | None = None


@dataclass(frozen=True)
class Log:
    """n impressions of the logging policy.

    Attributes:
        contexts: (n,) numbers of contexts, from 0 on.
        actions: (n,) numbers of what was shown.
        rewards: (n,) feedback, such as a click.
        propensities: (n,) chance with which the logging policy showed it, in (0, 1].
        context_of, action_of: name → number.
        people: (contexts,) number of the person of each context; impressions of one person are not
            independent.
    """

    contexts: Ints
    actions: Ints
    rewards: Floats
    propensities: Floats
    context_of: dict[str, int]
    action_of: dict[str, int]
    people: Ints

    @property
    def owners(self) -> Ints:
        """(n,) number of the person of each impression."""
        return self.people[self.contexts]

    def __len__(self) -> int:
        """How many impressions."""
        return len(self.rewards)


@dataclass(frozen=True)
class Policy:
    """A candidate, as far as the log's contexts go: sparse, a row of the table an entry.

    Attributes:
        name: of the policy.
        contexts, actions: (m,) numbers as in the log; an action that was never logged is −1.
        chances: (m,) π(a | x).
        logged: (n,) π(aᵢ | xᵢ) of what was logged; 0 for what the policy does not name.
    """

    name: str
    contexts: Ints
    actions: Ints
    chances: Floats
    logged: Floats


def read_log(path: Path, columns: LogColumns) -> Log:
    """A log from parquet, csv, tsv, json or jsonl.

    Raises:
        InputError: no such file or column.
        DataError: a propensity that is no chance above 0, or a reward that is no number.
    """
    wanted = [columns.context, columns.action, columns.reward, columns.propensity]
    table = _with(path, wanted + ([columns.person] if columns.person else []))
    rewards = _numbers(table, columns.reward, path)
    propensities = _numbers(table, columns.propensity, path)
    if not len(table) or not ((propensities > 0) & (propensities <= 1)).all():
        raise DataError(
            f"Column {columns.propensity!r} of {path} should hold the chance, above 0 and up to 1, "
            "with which each row was shown; log them, or leave out what was shown by fixed rule."
        )
    contexts, context_of = _numbered(table[columns.context])
    actions, action_of = _numbered(table[columns.action])
    owners = _numbered(table[columns.person])[0] if columns.person else contexts
    people = np.zeros(len(context_of), dtype=np.int64)
    people[contexts] = owners
    if (people[contexts] != owners).any():
        raise DataError(f"A {columns.context} of {path} belongs to more than one {columns.person}.")
    return Log(contexts, actions, rewards, propensities, context_of, action_of, people)


def read_policy(name: str, path: Path, columns: LogColumns, log: Log) -> Policy:
    """A candidate: a row for each context and action with its probability.

    Contexts that are not in the log are left out. Within a context the probabilities may sum to less
    than 1: the rest is for actions that the table does not name.

    Raises:
        InputError: no such file or column, or no context of the log in it.
        DataError: probabilities that are none, or sum to more than 1.
    """
    table = _with(path, [columns.context, columns.action, columns.probability])
    names = table[columns.context].cast(pl.String).fill_null("").to_list()
    kept = np.array([one in log.context_of for one in names], dtype=bool)
    if not kept.any():
        raise InputError(f"Policy {name} ({path}) names no {columns.context} of the log.")
    table = table.filter(pl.Series(kept))
    contexts = np.array([log.context_of[one] for one in np.array(names)[kept]], dtype=np.int64)
    said = table[columns.action].cast(pl.String).fill_null("").to_list()
    actions = np.array([log.action_of.get(one, -1) for one in said], dtype=np.int64)
    chances = _numbers(table, columns.probability, path)
    sums = np.bincount(contexts, weights=chances, minlength=len(log.context_of))
    if (chances < 0).any() or (sums > 1 + 1e-6).any():
        raise DataError(
            f"Column {columns.probability!r} of {path} should hold chances that sum to 1 at most for "
            "each context; each action once."
        )
    width = len(log.action_of)
    known = actions >= 0
    keys = contexts[known] * width + actions[known]
    order = np.argsort(keys)
    wanted = log.contexts * width + log.actions
    place = np.minimum(np.searchsorted(keys[order], wanted), max(0, len(keys) - 1))
    found = keys[order][place] == wanted if len(keys) else np.zeros(len(log), dtype=bool)
    logged = np.where(found, chances[known][order][place] if len(keys) else 0.0, 0.0)
    return Policy(name, contexts, actions, chances, logged)


def _with(path: Path, names: list[str]) -> pl.DataFrame:
    table = read_table(path)
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; it has {', '.join(table.columns)}. Name the columns "
            "with --context, --action, --reward, --propensity and --probability."
        )
    return table


def _numbers(table: pl.DataFrame, name: str, path: Path) -> Floats:
    values = table[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    if not np.isfinite(values).all():
        raise DataError(f"Column {name!r} of {path} should hold a number in every row.")
    return values.astype(np.float64)


def _numbered(column: pl.Series) -> tuple[Ints, dict[str, int]]:
    names = column.cast(pl.String).fill_null("").to_list()
    number_of = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([number_of[name] for name in names], dtype=np.int64), number_of
