"""The graph without its language model in the ranking table: its channels and the served page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from foretaste.agents.offline import Grounded, Page, TagChannel
from foretaste.agents.retrieval.tools import load_tools
from foretaste.data.dataset import Dataset
from foretaste.data.splits import Split
from foretaste.judge.ranking.evaluate import Protocol, evaluate_ranking
from foretaste.serving.rules.base import Scorer, Scores


def channel_report(
    dataset: Dataset,
    split: Split,
    rule: Scorer,
    protocol: Protocol,
    vectors: Scores | None,
    embedder: str,
    users: int,
) -> dict[str, Any]:
    """The collaborative rule, the tags channel and the page of both, on a sample of users.

    Args:
        rule: the best untrained rule, fitted as `protocol.fitted_on` says.
        vectors: (items, d) behind diversity, or None.
        embedder: name of the embedder behind the tags channel.
        users: size of the sample; a person costs about 20 ms here.

    Returns:
        The keys of `evaluate ranking` for these methods; pairs are against the rule.
    """
    tools = load_tools(dataset, embedder_name=embedder, rule=rule)
    grounded = Grounded(tools, keep=protocol.history == "kept")
    sample = replace(protocol, users=min(users, protocol.users or users))
    methods = [rule, TagChannel(grounded), Page(grounded)]
    report = evaluate_ranking(dataset, split, methods, sample, vectors=vectors, best=rule.name)
    return {name: report[name] for name in ("users", "cases", "methods", "pairs")}
