"""Groups of answers to one context, each with a tier: S better than A better than B.

In hindsight, with no model at all: S is a tag of what the person chose next, A a tag of what they chose
before, B a tag of somebody else, one that is too general, one that matches nothing, or a title they
have. Or from a judge's verdicts on any answers, or from what people did with what they were shown
(`finetune examples --from feedback`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from foretaste.agents.reasoning import grounded
from foretaste.agents.reasoning.checks import valid_tag
from foretaste.agents.reasoning.expert import expert_messages, recent_rows
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.asking import CheckFailed
from foretaste.agents.wording.lexicon import words
from foretaste.data.errors import InputError
from foretaste.data.files import replacing
from foretaste.finetune.moments import Side
from foretaste.judge.batch.cases import CaseFile
from foretaste.judge.batch.saved import read_records
from foretaste.judge.objects import Target
from foretaste.judge.reward import answer_of
from foretaste.judge.reward import context_of as context_of_case
from foretaste.serving.reward import context_of

TIERS = {"B": 0, "A": 1, "S": 2}
GROUPS = "groups.jsonl"
_SPARE = 6  # tags made beyond those wanted, as some fail the checks
_TRIES = 20  # draws for a tag that matches nothing


@dataclass(frozen=True)
class Group:
    """Answers to one context.

    Attributes:
        owner: whose context it is; learning and validation never share one.
        context: what was known.
        answers: texts, each once.
        tiers: (n) of `TIERS`, of each answer.
        weights: (n) what each answer's standing above lower ones counts for; empty for 1 each.
    """

    owner: str
    context: str
    answers: tuple[str, ...]
    tiers: tuple[int, ...]
    weights: tuple[float, ...] = ()


def in_hindsight(moments: Sequence[Side], tools: Tools, each: int, seed: int) -> Iterator[Group]:
    """One group a moment: tags that the future confirms, tags of the past, and bad ones.

    All tags of people are made by the same rule, so that their form betrays no tier.

    Args:
        moments: of any people.
        tools: of the agents; no model is needed.
        each: answers of each tier, at most.
        seed: of the draws.
    """
    makers = [_Maker(moment, tools, each) for moment in moments]
    for number, maker in enumerate(makers):
        draw = np.random.default_rng([seed, number])
        other = makers[int(draw.integers(len(makers)))]
        tiers = {"S": maker.confirmed(), "A": maker.past(), "B": maker.bad(other, draw)}
        seen: dict[str, int] = {}
        for tier, texts in tiers.items():
            for text in texts:
                seen.setdefault(text, TIERS[tier])
        if len(set(seen.values())) > 1:
            yield Group(maker.moment.owner, maker.context, tuple(seen), tuple(seen.values()))


class _Maker:
    """The tags of one moment."""

    def __init__(self, moment: Side, tools: Tools, each: int) -> None:
        self.moment, self._tools, self._each = moment, tools, each
        prompt = expert_messages(tools, moment.reader, moment.persona)
        self.context = context_of(prompt[-1].text)
        self._evidence = tools.dataset.rows(list(moment.persona.evidence))
        self._keys: set[str] = set()

    def confirmed(self) -> list[str]:
        """Tags of what was chosen next."""
        return self._valid(list(self.moment.future))

    def past(self) -> list[str]:
        """Tags of what was chosen before, other than those."""
        return self._valid(self._evidence)

    def bad(self, other: _Maker, draw: np.random.Generator) -> list[str]:
        """What nobody should say here: of each kind one, in an order that is drawn."""
        foreign = [text for text in other.foreign_to(self) if text]
        lexicon = self._tools.lexicon
        most = int(np.argmax(lexicon.categories.held)) if len(lexicon.categories.names) else -1
        titles = self._tools.dataset.titles
        kinds = [
            *foreign[:2],
            lexicon.categories.names[most] if most >= 0 else "",
            self._matching_nothing(draw),
            titles[self._evidence[0]] if self._evidence else "",
        ]
        kinds = [text for text in dict.fromkeys(kinds) if text]
        order = draw.permutation(len(kinds))
        return [kinds[place] for place in order[: self._each]]

    def foreign_to(self, asking: _Maker) -> list[str]:
        """Own tags that share no content word with what marks the one who asks."""
        own = {word for row in asking._evidence for word in self._tools.lexicon.fact_words(row)}
        made = self._made(self._evidence)
        return [text for text in made if not own & set(words(text))]

    def _made(self, rows: list[int]) -> list[str]:
        everything = self.moment.reader.allowed
        wanted = self._each + _SPARE
        return [tag.text for tag in grounded.tags(rows, self._tools.lexicon, everything, wanted, 0)]

    def _valid(self, rows: list[int]) -> list[str]:
        """The first tags of these items that pass the checks of the expert and are new here."""
        kept: list[str] = []
        recent = recent_rows(self._tools, self.moment.reader)
        for text in self._made(rows):
            allowed = self.moment.reader.allowed
            try:
                key = valid_tag(text, self._tools.lexicon, allowed, self._keys, recent)
            except CheckFailed:
                continue
            self._keys.add(key)
            kept.append(text)
        return kept[: self._each]

    def _matching_nothing(self, draw: np.random.Generator) -> str:
        """Two words of the catalogue that no item carries together; empty when none was drawn."""
        names = self._tools.lexicon.words.names or self._tools.lexicon.categories.names
        for _ in range(_TRIES if names else 0):
            text = " ".join(names[int(place)] for place in draw.integers(len(names), size=2))
            if words(text) and not len(self._tools.lexicon.matching(text)):
                return text
        return ""


def from_verdicts(cases: Path, verdicts: Path) -> list[Group]:
    """Groups of a judge's verdicts: `judge run --in CASES --out VERDICTS`, joined by id.

    Cases of one `group` of which the same is known are held against each other; their context is
    what the reward model reads when it judges (`judge.reward.context_of`). What the judge could not
    read is left out.

    Raises:
        InputError: a file cannot be read, or no two answers of a group have different tiers.
    """
    records = {record.id: record for record in read_records(verdicts)}
    target = next((one.made_of.get("target", "") for one in records.values()), "")
    found: dict[tuple[str, str], dict[str, int]] = {}
    for case in CaseFile(cases, cast(Target, target or "explanation")):
        record = records.get(case.id)
        if record is None or record.tier is None:
            continue
        context = context_of_case(case)
        answers = found.setdefault((case.group or case.id, context), {})
        answers.setdefault(answer_of(case), TIERS[record.tier])
    groups = [
        Group(owner, context, tuple(answers), tuple(answers.values()))
        for (owner, context), answers in found.items()
        if len(set(answers.values())) > 1 and context.strip()
    ]
    if not groups:
        raise InputError(
            f"No two answers to the same context have different tiers in {verdicts}; judge several "
            "answers to each context, with the same `group`."
        )
    return groups


def write_groups(folder: Path, groups: Sequence[Group]) -> None:
    """Write groups as JSON, one a line, for `read_groups`."""
    with replacing(folder / GROUPS) as part, part.open("w", encoding="utf-8") as file:
        for group in groups:
            file.write(json.dumps(asdict(group), ensure_ascii=False) + "\n")


def read_groups(path: Path) -> list[Group]:
    """The groups of a folder that `write_groups` filled, or of such a file.

    Raises:
        InputError: no such file, or lines of another form.
    """
    file = path / GROUPS if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"Groups of answers were expected in {path}; make them with "
            "`foretaste finetune examples --from feedback`."
        )
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
        return [_checked(line) for line in lines]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{file} holds no groups of answers ({str(error)[:120]}); make them anew with "
            "`foretaste finetune examples --from feedback`."
        ) from error


def _checked(line: dict[str, Any]) -> Group:
    """A group whose answers, tiers and weights fit each other."""
    answers, tiers = [str(one) for one in line["answers"]], [int(one) for one in line["tiers"]]
    weights = [float(one) for one in line.get("weights", ())]
    if len(tiers) != len(answers) or len(weights) not in (0, len(answers)):
        raise ValueError("each answer has one tier and one weight")
    if not set(tiers) <= set(TIERS.values()) or not all(0 <= one < 1e6 for one in weights):
        raise ValueError("tiers are 0, 1 and 2, and weights are not negative")
    known = str(line["owner"]), str(line["context"])
    return Group(*known, tuple(answers), tuple(tiers), tuple(weights))
