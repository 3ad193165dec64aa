"""Splits in time: what a model may learn from, and what it is asked.

`leave_one_out` asks for every user's last item, `temporal` for everything after a date. Both
are checked by `check_leakage` before they are handed out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError, LeakageError
from foretaste.data.histories import Histories
from foretaste.data.times import iso

FittedOn = Literal["train", "train+validation"]

KNOWN_AT = "known_at"  # attribute: from when on (ISO date) a row of users or items was known
_OBSERVED = ("weather", "trend")  # kinds of environment that nobody knows beforehand
_DAY = 86_400  # seconds
_Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Cases:
    """Questions of an evaluation: after this history, which item comes next?

    Attributes:
        users: (n,) index of each case's user in `Dataset.user_ids`.
        histories: n histories, everything of the user before the target, oldest first.
        targets: (n,) int32, the item row that really came next.
    """

    users: NDArray[np.int64]
    histories: Histories
    targets: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, indices: NDArray[np.int64]) -> Cases:
        """The cases at these places, in this order."""
        starts, lengths = self.histories.offsets[:-1][indices], self.histories.lengths[indices]
        histories = _gather(self.histories, starts, lengths)
        return Cases(self.users[indices], histories, self.targets[indices])

    def unseen(self) -> Cases:
        """The cases whose target does not stand in their history: those that are no repetition."""
        owners = self.histories.owners
        repeated = owners[self.histories.rows == self.targets[owners]]
        return self.take(np.setdiff1d(np.arange(len(self)), repeated)) if len(repeated) else self


@dataclass(frozen=True)
class Split:
    """One way of cutting a data set in time.

    Attributes:
        kind: `"leave-one-out"` or `"temporal"`.
        train: one history a user, the rows a model may be fitted on while constants are chosen.
        train_validation: the same with the validation rows, for the second standard protocol.
        validation: cases on which constants are chosen.
        test: cases that are looked at once.
        rule: one sentence that states the cut and how ties were broken.
    """

    kind: Literal["leave-one-out", "temporal"]
    train: Histories
    train_validation: Histories
    validation: Cases
    test: Cases
    rule: str

    def fitted_on(self, which: FittedOn) -> Histories:
        """The histories to fit on."""
        return self.train if which == "train" else self.train_validation


def leave_one_out(dataset: Dataset) -> Split:
    """Each user's last item is the test, the one before is validation, the rest is trained on.

    Users with fewer than three events are not asked about: all their events are trained on.
    Ties in time keep the order of the source (`position`). Takes one pass over the arrays.
    """
    events = dataset.histories
    starts, lengths = events.offsets[:-1], events.lengths
    asked = np.flatnonzero(lengths >= 3)  # (cases,) users
    held = np.where(lengths >= 3, 2, 0)  # (users,) events kept from training

    def last(back: int) -> Cases:
        before = lengths[asked] - back  # (cases,) events before the target
        return Cases(
            asked,
            _gather(events, starts[asked], before),
            events.rows[starts[asked] + before],
        )

    split = Split(
        kind="leave-one-out",
        train=_gather(events, starts, lengths - held),
        train_validation=_gather(events, starts, lengths - held // 2),
        validation=last(2),
        test=last(1),
        rule=(
            "Last event of each user with at least three = test, the one before = validation, "
            "the rest = train; ties in time in the order of the source."
        ),
    )
    check_leakage(dataset, split)
    return split


def temporal(
    dataset: Dataset,
    validation_start: int | None = None,
    test_start: int | None = None,
    fractions: tuple[float, float] = (0.1, 0.1),
) -> Split:
    """One cut in time for everybody: train before it, ask about every event after it.

    Each event in a window is a case; its history is the user's events with a *strictly smaller*
    timestamp, so a basket of one second is never its own clue. Histories may be empty.

    Args:
        validation_start: seconds; events from here on up to `test_start` are validation.
        test_start: seconds; events from here on are test.
        fractions: used when no start is given: shares of all events for validation and test,
            the newest being test. Events of the second of a cut fall after it.

    Raises:
        InputError: the set has no times (`order_only`), or a window would be empty.
    """
    if dataset.info.order_only:
        raise InputError(
            f"{dataset.name} has no times, only the order of each user's events, so it cannot "
            "be cut at a date; use the leave-one-out split."
        )
    events, times = dataset.histories, dataset.times
    first, second = _cuts(times, validation_start, test_start, fractions)
    if not (times < first).any() or not ((times >= first) & (times < second)).any():
        raise InputError(_empty_window(dataset, first, second))
    if not (times >= second).any():
        raise InputError(_empty_window(dataset, first, second))
    starts = events.offsets[:-1]
    earlier = _strictly_earlier(events, times)  # (events,) events of the user before its time

    def window(low: int, high: float) -> Cases:
        inside = np.flatnonzero((times >= low) & (times < high))
        users = events.owners[inside]
        histories = _gather(events, starts[users], earlier[inside])
        return Cases(users, histories, events.rows[inside])

    split = Split(
        kind="temporal",
        train=_gather(events, starts, _count_before(events, times, first)),
        train_validation=_gather(events, starts, _count_before(events, times, second)),
        validation=window(first, second),
        test=window(second, np.inf),
        rule=(
            f"Train before {iso(first)}, validation from then on, test from {iso(second)} on; "
            "a case's history is what the user did at a strictly smaller time."
        ),
    )
    check_leakage(dataset, split)
    return split


def until(dataset: Dataset, known: NDArray[np.int64]) -> Dataset:
    """The same catalogue where each user's first events are all there is.

    Args:
        known: (users,) events with items that stay, in the order of `dataset.user_ids`; searches
            stay that came before the first event that does not.
    """
    stays = pl.DataFrame(
        {"user_id": dataset.user_ids, "stays": known}, schema_overrides={"user_id": pl.String}
    )
    seen = pl.col("item_id").is_not_null().cum_sum().over("user_id")
    events = dataset.interactions.join(stays, on="user_id", how="left", maintain_order="left")
    kept = events.filter(seen <= pl.col("stays").fill_null(0)).drop("stays")
    return replace(dataset, interactions=kept)


def check_leakage(dataset: Dataset, split: Split) -> None:
    """Make sure that nothing of the future is in what is learnt from or shown.

    * what is trained on is a beginning of each user's sequence and ends before each of the
      user's cases; a case's history is a beginning too, and ends before its target's time;
    * in a temporal split no training event is as late as a validation event, and no validation
      event as late as a test event;
    * no user or item carries a `known_at` attribute (an ISO date) after the test it serves;
    * no weather or trend row longer than a day spans the cut of a temporal split.

    Raises:
        LeakageError: one of these does not hold; the sentence names an example.
    """
    everyone = np.arange(len(dataset.histories))
    for fitted in (split.train, split.train_validation):
        _must_begin(dataset, everyone, fitted, "the training history")
    pairs = ((split.train, split.validation), (split.train_validation, split.test))
    for fitted, cases in pairs:
        _must_begin(dataset, cases.users, cases.histories, "a case's history")
        late = np.flatnonzero(fitted.lengths[cases.users] > cases.histories.lengths)
        if len(late):
            user = dataset.user_ids[int(cases.users[late[0]])]
            raise LeakageError(
                f"The event that is asked about for user {user} is inside what is trained on; "
                "make the split anew with `leave_one_out` or `temporal`."
            )
        _check_targets(dataset, cases, strict=split.kind == "temporal")
    if dataset.info.order_only:
        return
    if split.kind == "temporal":
        _check_windows(dataset, split)
    _check_known_at(dataset, split)


def _cuts(
    times: _Numbers, first: int | None, second: int | None, fractions: tuple[float, float]
) -> tuple[int, int]:
    if (first is None) != (second is None):
        raise InputError("A temporal split needs both starts, of validation and of test, or none.")
    if first is not None and second is not None:
        return first, second
    validation, test = fractions
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise InputError(
            f"Two shares above 0 that leave something to train on were expected, not {fractions}."
        )
    ordered, count = np.sort(times), len(times)
    if not count:
        raise InputError("A data set without interactions cannot be split.")
    at = [int(count * (1 - validation - test)), int(count * (1 - test))]
    return int(ordered[at[0]]), int(ordered[at[1]])


def _empty_window(dataset: Dataset, first: int, second: int) -> str:
    span = f"{iso(int(dataset.times.min()))} to {iso(int(dataset.times.max()))}"
    return (
        f"Events before {iso(first)}, from then to {iso(second)}, and after are all needed, but "
        f"one part is empty; {dataset.name} spans {span}: choose other dates or shares."
    )


def _gather(events: Histories, starts: _Numbers, lengths: _Numbers) -> Histories:
    """Histories that begin at `starts` in the rows of `events` and have these lengths."""
    places = _places(starts, lengths)
    told = None if events.signals is None else events.signals[places]
    return Histories(events.rows[places], _offsets(lengths), told)


def _offsets(lengths: _Numbers) -> _Numbers:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)  # (n + 1,)


def _places(starts: _Numbers, lengths: _Numbers) -> _Numbers:
    """(sum of lengths,) places `start, start + 1, …` of every history, one after the other."""
    offsets = _offsets(lengths)
    return np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])


def _strictly_earlier(events: Histories, times: _Numbers) -> _Numbers:
    """(events,) how many events of the same user have a smaller timestamp."""
    owners = events.owners
    place = np.arange(len(times))
    new = np.ones(len(times), dtype=bool)  # (events,) the first event of a user at a time
    new[1:] = (owners[1:] != owners[:-1]) | (times[1:] != times[:-1])
    return np.maximum.accumulate(np.where(new, place, 0)) - events.offsets[:-1][owners]


def _count_before(events: Histories, times: _Numbers, cut: int) -> _Numbers:
    """(users,) how many events of each user come before `cut`."""
    return np.bincount(events.owners[times < cut], minlength=len(events)).astype(np.int64)


def _must_begin(dataset: Dataset, users: _Numbers, part: Histories, what: str) -> None:
    """Each history of `part` must be the beginning of its user's sequence."""
    events = dataset.histories
    if len(users) != len(part) or (part.lengths > events.lengths[users]).any():
        raise LeakageError(f"{what.capitalize()} is longer than what the users really did.")
    real = events.rows[_places(events.offsets[:-1][users], part.lengths)]
    wrong = np.flatnonzero(real != part.rows)
    if len(wrong):
        user = dataset.user_ids[int(users[part.owners[wrong[0]]])]
        raise LeakageError(
            f"For user {user} {what} is not the beginning of the user's events in time, so later "
            "events may be among it; make the split anew with `leave_one_out` or `temporal`."
        )


def _check_targets(dataset: Dataset, cases: Cases, strict: bool) -> None:
    """A history leaves its target out; when `strict`, all of it is at a smaller time."""
    events, lengths = dataset.histories, cases.histories.lengths
    if (lengths >= events.lengths[cases.users]).any():
        raise LeakageError("A case's history holds all events of its user, the target among them.")
    if not strict:
        return
    targets = events.offsets[:-1][cases.users] + lengths  # (cases,) first event after the history
    tied = (lengths > 0) & (dataset.times[targets - 1] >= dataset.times[targets])
    if tied.any():
        user = dataset.user_ids[int(cases.users[np.flatnonzero(tied)[0]])]
        raise LeakageError(f"A history of user {user} holds an event of its target's own time.")


def _target_times(dataset: Dataset, cases: Cases) -> _Numbers:
    """(cases,) seconds of each target: those of the first event after its history."""
    targets = dataset.histories.offsets[:-1][cases.users] + cases.histories.lengths
    times: _Numbers = dataset.times[targets]
    return times


def _check_windows(dataset: Dataset, split: Split) -> None:
    validation, test = (_target_times(dataset, part) for part in (split.validation, split.test))
    starts = dataset.histories.offsets[:-1]
    learnt = dataset.times[_places(starts, split.train.lengths)]
    both = dataset.times[_places(starts, split.train_validation.lengths)]
    if (len(validation) and len(learnt) and learnt.max() >= validation.min()) or (
        len(test) and len(both) and both.max() >= test.min()
    ):
        raise LeakageError(
            "Training events are as late as events that are asked about; make the split anew "
            "with `temporal`."
        )
    cut = int(test.min())
    spanning = dataset.environment.filter(
        pl.col("kind").is_in(_OBSERVED)
        & (pl.col("start") < cut)
        & (pl.col("end") > cut)
        & (pl.col("end") - pl.col("start") > _DAY)
    )
    if spanning.height:
        raise LeakageError(
            f"The environment row {spanning['text'][0]!r} begins before the test at {iso(cut)} "
            "and ends after it, so training would see what happened later; cut the row in two."
        )


def _check_known_at(dataset: Dataset, split: Split) -> None:
    """No attribute may be dated after the test that it is shown in."""
    times = _target_times(dataset, split.test)
    if not len(times):
        return
    ids = pl.Series(dataset.user_ids, dtype=pl.String)[split.test.users]
    asked = pl.DataFrame({"user_id": ids, "cut": times}).group_by("user_id").min()
    cut = times.min() if split.kind == "temporal" else times.max()
    users = _dated(dataset.users, "user_id").join(asked, on="user_id")
    items = _dated(dataset.items, "item_id").with_columns(cut=pl.lit(int(cut)))
    for table, key in ((users, "user_id"), (items, "item_id")):
        future = table.filter(pl.col(KNOWN_AT) > pl.col("cut"))
        if future.height:
            raise LeakageError(
                f"The attributes of {key} {future[key][0]!r} are dated {iso(future[KNOWN_AT][0])}"
                f" (`known_at`), after the test at {iso(future['cut'][0])}; import what was known "
                "before it."
            )


def _dated(table: pl.DataFrame, key: str) -> pl.DataFrame:
    """The rows that carry a `known_at` attribute: key and seconds."""
    from foretaste.data.times import parse_times

    named = (
        table.select(key, "attributes")
        .explode("attributes")
        .unnest("attributes")
        .filter(pl.col("name") == KNOWN_AT)
    )
    return named.select(key, parse_times(named["value"], "s").alias(KNOWN_AT)).drop_nulls()
