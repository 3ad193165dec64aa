"""A judge that needs no language model: the rules behind `judge probe`, and a small head beside them.

Rules find defects and nothing else, so the best tier that they give is A. A head that people's labels
have trained tells whether the answer is good; what it calls bad is tier B.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np

from foretaste.data.errors import InputError
from foretaste.judge.evidence import quoted
from foretaste.judge.objects import Case, Judgement, Mark, Target, Verdict
from foretaste.judge.people.head import HeadJudge
from foretaste.judge.probes.detectors import Detectors, Finding, Kind
from foretaste.judge.probes.pages import Page, Place
from foretaste.judge.records import Records
from foretaste.judge.review import score_of, tier_of

#: What rules can find in a target.
KINDS: dict[Target, tuple[Kind, ...]] = {
    "explanation": ("empty", "unsafe", "factual", "out_of_season"),
    "item": ("repeated", "out_of_season"),
    "list": ("repeated", "out_of_season"),
    "page": ("empty", "unsafe", "factual", "shuffled", "repeated", "out_of_season"),
}
HEAD = "people"  # the dimension that a head answers for


class RulesJudge:
    """Rules over one data set, and a head when there is one.

    Args:
        detectors: the rules.
        records: tells the history of a person.
        target: of the rubric: which rules apply.
        head: trained on people's labels, or None.

    Raises:
        InputError: no rule applies to the target.
    """

    def __init__(
        self, detectors: Detectors, records: Records, target: Target, head: HeadJudge | None = None
    ) -> None:
        if target not in KINDS:
            raise InputError(
                f"Rules judge {', '.join(KINDS)}, not a {target}; use --judge agent or head."
            )
        self._detectors, self._records = detectors, records
        self._target, self._head = target, head

    @property
    def name(self) -> str:
        """`rules`, with the head's name."""
        return f"rules and {self._head.name}" if self._head else "rules"

    @property
    def made_of(self) -> dict[str, str]:
        """Rules, data and head."""
        head = self._head.made_of if self._head else {}
        return {
            "judge": "rules",
            "model": self._head.name if self._head else "",
            "head_hash": head.get("head_hash", ""),
            "dataset": self._records.dataset.info.fingerprint,
        }

    async def judge(self, case: Case) -> Judgement:
        """Look for defects; the score is the head's chance, or the mean of the marks without one."""
        known = self._records.of_person(case)
        found = await asyncio.to_thread(self._detectors.findings, self._page(known))
        verdicts = list(self._verdicts(known, found))
        score = score_of([one.mark for one in verdicts])
        if self._head is not None:
            said = await self._head.judge(self._records.of_items(known, self._target))
            score = said.score if said.score is not None else score
            verdicts.append(self._by_head(self._head, score))
        return Judgement(
            id=case.id,
            group=case.group,
            segments=case.segments,
            tier=tier_of([one.mark for one in verdicts], excellent=1.0),
            score=score,
            verdicts=tuple(verdicts),
        )

    def _verdicts(self, case: Case, found: list[Finding]) -> Iterator[Verdict]:
        """Negative where something was found, with the line in which it stands; else acceptable."""
        for kind in KINDS[self._target]:
            finding = next((one for one in found if one.kind == kind), None)
            if finding is None:
                yield Verdict(dimension=kind, mark="acceptable", reason="no defect was found")
                continue
            lines = case.answer if finding.place is None else case.answer[finding.place :][:1]
            yield Verdict(
                dimension=kind,
                mark="negative",
                reason=finding.reason,
                evidence=quoted([line for line in lines if line], case),
            )

    def _by_head(self, head: HeadJudge, chance: float) -> Verdict:
        """What the head calls good stands above its own threshold."""
        calibration = head.head.record.calibration
        good = chance >= float(calibration.chance(np.array([calibration.good_cut]))[0])
        mark: Mark = "acceptable" if good else "negative"
        return Verdict(dimension=HEAD, mark=mark, reason=f"a good answer by chance {chance:.2f}")

    def _page(self, case: Case) -> Page:
        """The case as a page: each item with the sentence that stands under it."""
        dataset = self._records.dataset
        titles = [
            dataset.titles[dataset.row_of[one]] if one in dataset.row_of else ""
            for one in case.items
        ]
        texts = [""] * len(case.items)
        for place, (title, line) in enumerate(zip(titles, case.answer, strict=False)):
            texts[place] = line.removeprefix(title).removeprefix(": ")
        if self._target == "explanation":
            texts = [" ".join(case.answer)] * len(case.items)
        known = " ".join(case.context)
        places = (Place(item, text, known) for item, text in zip(case.items, texts, strict=True))
        return Page(case.user_id or "", self._chosen(case), tuple(places))

    def _chosen(self, case: Case) -> tuple[str, ...]:
        """Ids of the history: those of the case, else the stored ones."""
        if case.chosen or case.user_id is None:
            return case.chosen
        events = self._records.dataset.events_of(case.user_id)
        return tuple(event["item_id"] for event in events if event["item_id"] is not None)
