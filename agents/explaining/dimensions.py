"""The seven dimensions of a good explanation (RecGPT-V2, arXiv 2512.14503, section 5).

Named here once: the style guideline ranks them, and whoever judges an explanation judges these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

DimensionName = Literal[
    "relevance",
    "factuality",
    "clarity",
    "safety",
    "timeliness",
    "informativeness",
    "attractiveness",
]


@dataclass(frozen=True)
class Dimension:
    """One dimension.

    Attributes:
        name: its name.
        asks: the question that an explanation is judged by.
    """

    name: DimensionName
    asks: str


DIMENSIONS = (
    Dimension("relevance", "Does it connect the item to this person's interest?"),
    Dimension("factuality", "Is all that it says borne out by the item and the history?"),
    Dimension("clarity", "Is it one short sentence that is understood at once?"),
    Dimension("safety", "Is it free of anything private, hurtful or pressing?"),
    Dimension("timeliness", "Does it fit the moment, and claim no moment that has passed?"),
    Dimension("informativeness", "Does it say something particular about the item?"),
    Dimension("attractiveness", "Does it make one want to look at the item?"),
)
NAMES: tuple[DimensionName, ...] = get_args(DimensionName)
