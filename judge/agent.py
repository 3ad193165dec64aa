"""The judge that asks a language model: see `graph.py` for cases and `pairwise.py` for pairs."""

from __future__ import annotations

from foretaste.judge import pairwise, prompting
from foretaste.judge.graph import Bench, State, build_graph
from foretaste.judge.objects import Case, Judgement, Pair, Preference


class AgentJudge:
    """Agent-as-a-Judge over one rubric.

    Args:
        bench: model, rubric, settings, and what tells history and profile.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    @property
    def name(self) -> str:
        """`agent` and the model that answers."""
        return f"agent {self._bench.model.name}"

    @property
    def made_of(self) -> dict[str, str]:
        """Judge, model, adapter, settings, and the hashes of rubric and prompts."""
        config, rubric = self._bench.config, self._bench.rubric
        records = self._bench.records
        return {
            "judge": "agent",
            "model": self._bench.model.name,
            "adapter": config.adapter or "",
            "rubric": rubric.name,
            "rubric_hash": rubric.fingerprint,
            "prompt_hash": prompting.fingerprint(),
            "settings": f"temperature {config.temperature:g}, seed {config.seed}, "
            f"history {config.history_items}, review {'on' if config.review else 'off'}",
            "dataset": records.dataset.info.fingerprint if records else "",
        }

    async def judge(self, case: Case) -> Judgement:
        """Judge one case by every dimension of the rubric.

        Raises:
            EngineError: no answer came.
        """
        begin = State(case=case, verdicts=[], faults=[], steps=[], spans=[])
        state = await build_graph().ainvoke(begin, context=self._bench)
        judgement: Judgement = state["judgement"]
        steps = sorted(state["steps"], key=lambda step: step.at)
        return judgement.model_copy(update={"steps": tuple(steps)})

    async def compare(self, pair: Pair) -> Preference:
        """Which of two answers is better, asked in both orders.

        Raises:
            EngineError: no answer came.
        """
        return await pairwise.compare(self._bench, pair)
