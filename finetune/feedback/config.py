"""Settings of `finetune examples --from feedback`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from foretaste.data.love import Love
from foretaste.data.settings import groups_known, override


class FeedbackConfig(BaseModel, frozen=True, extra="forbid"):
    """How a log becomes preferences.

    Attributes:
        position: whether the effect of the place is removed.
        popularity: whether the effect of the item's popularity is removed.
        prior: loved items for which two neighbouring places count as alike.
        most: largest weight of a loved item, against a mean of 1.
    """

    position: bool = True
    popularity: bool = True
    prior: float = Field(10.0, ge=0)
    most: float = Field(10.0, ge=1)


def configured_feedback(changes: Sequence[str] = ()) -> tuple[FeedbackConfig, Love]:
    """The settings with every `feedback.FIELD=VALUE` and `love.FIELD=VALUE` of `changes`.

    Raises:
        InputError: a change that is not one.
    """
    groups_known(changes, ("feedback", "love"))
    return override(FeedbackConfig(), "feedback", changes), override(Love(), "love", changes)
