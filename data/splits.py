"""Splits in time: what a model may learn from, and what it is asked.

Filled in beside `Split`: `leave_one_out`, `temporal`, `check_leakage`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foretaste.data.histories import Histories

FittedOn = Literal["train", "train+validation"]


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
