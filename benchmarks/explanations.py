"""How much the grounded explanations of real pages repeat each other, and what the cache saves.

    python benchmarks/explanations.py --dataset ml-100k [--users 200] [--language en] [--json -]

Pages of ten for users drawn with seed 0, without a language model. The same facts are written
twice: with one sentence pattern a reason, and with the patterns in turn as they are served. Figures
are means over users with 95 % bootstrap intervals (1,000 draws, seed 0); R_div is each sentence
against the 160 before it, from the 161st on. Diversity is 1 - mean pairwise ROUGE-L of a page.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from foretaste.agents.config import AgentsConfig
from foretaste.agents.explaining import twin
from foretaste.agents.explaining.diversity import diversity, r_div
from foretaste.agents.explaining.explainer import explain
from foretaste.agents.explaining.facts import facts_of
from foretaste.agents.explaining.kept import Explanations
from foretaste.agents.explaining.languages import GENERAL, language
from foretaste.agents.explaining.memory import SIZE, Memory
from foretaste.agents.graph import Desk
from foretaste.agents.objects import Request
from foretaste.agents.recommend import Run, stream
from foretaste.agents.retrieval.tools import Tools, load_tools
from foretaste.agents.running.trace import noting
from foretaste.data.store import load_dataset


async def measure(tools: Tools, users: Sequence[str]) -> dict[str, Any]:
    spoken = language(tools.config.language)
    single = {kind: {GENERAL: some[GENERAL][:1]} for kind, some in spoken.sentences.items()}
    fixed = replace(spoken, sentences=single)
    said: dict[str, list[list[str]]] = {"one pattern": [], "in turn": []}
    hits = misses = 0
    spent = {"first": 0.0, "again": 0.0}
    for user in users:
        request, run = Request(user_id=user, explain=False), Run()
        async for _ in stream(tools, request, run):
            continue
        reader, page = Desk(tools, request).reader, run.state["page"]
        told = (run.state["personas"], run.state["verdicts"])
        facts = facts_of(tools, reader, page, *told)
        said["one pattern"].append(twin.sentences(facts, fixed, GENERAL, Memory(), 0))
        for time_of in spent:
            start = time.process_time()
            with noting() as notes:
                made, _ = await explain(tools, reader, page, 0, *told)
            spent[time_of] += time.process_time() - start
            if time_of == "first":
                said["in turn"].append([one.explanation for one in made])
                hits, misses = hits + int(notes["cache_hits"]), misses + int(notes["cache_misses"])
    return {
        "users": len(users),
        "language": spoken.code,
        "diversity": {name: _mean([diversity(page) for page in said[name]]) for name in said},
        "r_div": {name: _mean(_news(pages)) for name, pages in said.items()},
        "first_request_hit_rate": hits / max(hits + misses, 1),
        "cpu_ms_a_page": {name: round(1000 * s / len(users), 2) for name, s in spent.items()},
    }


def _news(pages: list[list[str]]) -> list[float]:
    """R_div of every sentence against the full memory before it."""
    texts = [text for page in pages for text in page]
    return [r_div(texts[i], texts[i - SIZE : i]) for i in range(SIZE, len(texts))]


def _mean(values: list[float]) -> list[float]:
    """Mean, and the ends of its 95 % bootstrap interval; nothing of nothing."""
    if not values:
        return []
    drawn = np.random.default_rng(0).choice(values, (1000, len(values))).mean(axis=1)
    return [round(float(x), 3) for x in (np.mean(values), *np.quantile(drawn, (0.025, 0.975)))]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--dataset", required=True)
    options.add_argument("--users", type=int, default=200)
    options.add_argument("--language", default="en")
    options.add_argument("--json", type=argparse.FileType("w"), default="-")
    asked = options.parse_args()
    tools = load_tools(load_dataset(asked.dataset), AgentsConfig(language=asked.language))
    tools = replace(tools, explanations=Explanations())  # nothing said yet
    known = sorted(tools.dataset.user_ids)
    count = min(asked.users, len(known))
    users = np.random.default_rng(0).choice(known, count, replace=False).tolist()
    figures = {"dataset": asked.dataset, **asyncio.run(measure(tools, users))}
    print(json.dumps(figures, indent=2), file=asked.json, flush=True)


if __name__ == "__main__":
    main()
