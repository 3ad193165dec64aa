"""The reward model, the rules and the head as judges: one number, defects, and both."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretaste.data.errors import InputError
from foretaste.judge.cosine import CosineJudge
from foretaste.judge.objects import Case, Judgement
from foretaste.judge.people.calibration import fit_calibration
from foretaste.judge.probes.detectors import Detectors
from foretaste.judge.records import Records
from foretaste.judge.report.gathered import agreement
from foretaste.judge.reward import RewardJudge
from foretaste.judge.rules import RulesJudge

FILMS = runpy.run_path(str(Path(__file__).parent.parent / "agents" / "conftest.py"))
record = runpy.run_path(str(Path(__file__).parent / "test_judge_figures.py"))["record"]


class Lengths:
    """Scores an answer by its length, and remembers what was scored together."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []

    def score(self, context: str, answers: Sequence[str]) -> Any:
        self.calls.append((context, list(answers)))
        if "broken" in context:
            raise InputError("no context")
        return np.array([len(answer) - 3 for answer in answers], dtype=np.float32)


def _reward(tmp_path: Path) -> tuple[RewardJudge, Lengths]:
    (tmp_path / "head.safetensors").write_bytes(b"weights")
    scorer = Lengths()
    return RewardJudge(scorer, tmp_path), scorer


def test_a_reward_model_gives_a_score_and_no_tier(tmp_path: Path) -> None:
    judge, _ = _reward(tmp_path)
    made = asyncio.run(judge.judge(Case(id="1", answer=("hat",), context=("Persona: A",))))
    assert (made.score, made.tier, made.verdicts) == (0.5, None, ())
    before = judge.made_of
    (tmp_path / "head.safetensors").write_bytes(b"other")
    assert judge.made_of["reward_hash"] != before["reward_hash"]


def test_answers_to_one_context_are_scored_together(tmp_path: Path) -> None:
    judge, scorer = _reward(tmp_path)
    cases = [
        Case(id=str(i), answer=("x" * i,), context=(f"Persona: {i % 2}",), history=("Heat",))
        for i in range(10)
    ]

    async def all_of_them() -> list[Judgement]:
        return await asyncio.gather(*(judge.judge(case) for case in cases))

    made = asyncio.run(all_of_them())
    assert [one.id for one in made] == [str(i) for i in range(10)]
    assert [one.score for one in made] == sorted(one.score or 0 for one in made)
    assert [len(answers) for _, answers in scorer.calls] == [5, 5]
    assert scorer.calls[0][0] == "Persona: 0\nChose: Heat"


def test_a_fault_reaches_everyone_who_waits_and_nobody_else(tmp_path: Path) -> None:
    judge, _ = _reward(tmp_path)

    async def both() -> list[Any]:
        cases = [Case(id="1", answer=("a",), context=("broken",)), Case(id="2", answer=("hat",))]
        return await asyncio.gather(*map(judge.judge, cases), return_exceptions=True)

    broken, good = asyncio.run(both())
    assert isinstance(broken, InputError)
    assert good.score == 0.5


def test_how_well_scores_tell_tiers_by_hand() -> None:
    scores = {"1": 0.9, "2": 0.5, "3": 0.6, "4": 0.1}
    tiers = {"1": "S", "2": "A", "3": "B", "4": "B"}
    one = [record(name, score, None, group="g") for name, score in scores.items()]
    other = [record(name, 0.5, tier, group="g") for name, tier in tiers.items()]
    found = agreement(one, other)
    assert found["tiers"] == 0
    assert found["pairs"] == 5  # all but the two of tier B
    assert found["order"] == pytest.approx(4 / 5)  # 3 stands above 2
    assert found["roc_auc"] == pytest.approx(3 / 4)


@pytest.fixture
def rules() -> Any:
    films = FILMS["films"]()
    detectors = Detectors(films)

    def judge(case: Case, target: str, head: Any = None) -> Judgement:
        return asyncio.run(RulesJudge(detectors, Records(films), target, head).judge(case))

    return judge


GOOD = "After Star Voyage (1980), Moon Station (1984) stays with Adventure."


def _case(text: str, item: str = "space-2") -> Case:
    return Case(id="1", user_id="ann", answer=(text,), items=(item,))


def test_rules_find_defects_and_praise_nothing(rules: Any) -> None:
    made = rules(_case(GOOD), "explanation")
    assert made.tier == "A", made.verdicts
    wrong = rules(_case("Moon Station (1984) won nine awards."), "explanation")
    assert wrong.tier == "B"
    bad = {one.dimension: one for one in wrong.verdicts if one.mark == "negative"}
    assert list(bad) == ["factual"]
    assert bad["factual"].evidence[0].found == "answer"
    assert rules(_case(""), "explanation").tier == "B"


def test_what_was_chosen_before_is_repeated(rules: Any) -> None:
    assert rules(_case("Star Voyage", "space-1"), "item").tier == "B"
    assert rules(_case("Moon Station"), "item").tier == "A"
    case = Case(id="1", answer=("Moon Station", "Moon Station"), items=("space-2", "space-2"))
    assert rules(case, "list").tier == "B"


def test_a_page_is_read_with_its_sentences(rules: Any) -> None:
    line = f"Moon Station (1984): {GOOD}"
    case = Case(id="1", user_id="ann", answer=(line,), items=("space-2",))
    assert rules(case, "page").tier == "A"
    empty = case.model_copy(update={"answer": ("Moon Station (1984)",)})
    assert [v.dimension for v in rules(empty, "page").verdicts if v.mark == "negative"] == ["empty"]


class Head:
    """A head that gives every answer the same chance, with a threshold of one half."""

    name = "head of a test"
    made_of = {"head_hash": "h"}  # noqa: RUF012

    def __init__(self, chance: float) -> None:
        scores = np.linspace(0, 1, 20)
        good = scores >= 0.5
        levels = good.astype(np.int64)
        labels = levels.astype(float)
        calibration = fit_calibration(scores, labels, levels, good, np.array([0.0, 1.0]))
        self.head = type("H", (), {"record": type("R", (), {"calibration": calibration})})
        self._chance = chance

    async def judge(self, case: Case) -> Judgement:
        return Judgement(id=case.id, score=self._chance)


def test_a_head_beside_the_rules(rules: Any) -> None:
    good, bad = (rules(_case(GOOD), "explanation", Head(chance)) for chance in (0.99, 0.01))
    assert (good.tier, good.score) == ("A", 0.99)
    assert (bad.tier, bad.score) == ("B", 0.01)
    assert bad.verdicts[-1].dimension == "people"


def test_rules_say_nothing_of_tags(rules: Any) -> None:
    with pytest.raises(InputError, match="not a tag"):
        rules(_case("space film"), "tag")


def test_the_cosine_judge_tells_nearness_and_nothing_else(embedder: Any) -> None:
    judge = CosineJudge(embedder)

    def score(*answer: str, **known: Any) -> float | None:
        made = asyncio.run(judge.judge(Case(id="1", answer=answer, **known)))
        assert (made.tier, made.verdicts) == (None, ())
        return made.score

    near = score("red kettle", context=("a red kettle",))
    far = score("blue lamp", context=("a red kettle",))
    assert score("red kettle", context=("red kettle",)) == pytest.approx(1)
    assert near is not None
    assert far is not None
    assert near > far >= 0
    assert score("red kettle") == 0  # nothing is known to be near to


def test_the_cosine_judge_reads_the_stored_history(embedder: Any) -> None:
    films = FILMS["films"]()
    with_data, without = CosineJudge(embedder, Records(films)), CosineJudge(embedder)
    case = Case(id="1", answer=("Star Voyage",), user_id="ann")
    assert asyncio.run(without.judge(case)).score == 0
    assert (asyncio.run(with_data.judge(case)).score or 0) > 0
    assert with_data.made_of["dataset"] == films.info.fingerprint
