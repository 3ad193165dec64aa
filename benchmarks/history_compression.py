"""Tokens of histories, one line an event and compressed: the table of docs/context.md.

python benchmarks/history_compression.py --dataset ml-100k --dataset amazon-beauty
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator

import numpy as np

from foretaste.agents.contexts.compression import compress
from foretaste.agents.contexts.context import user_context
from foretaste.agents.contexts.counting import count_for
from foretaste.agents.objects import HistoryEvent, Request
from foretaste.agents.wording import prompting
from foretaste.data.store import load_dataset
from foretaste.serving.chat import Message

END = 1_700_438_400  # 2023-11-20 00:00 UTC
DAY = 86_400
NO_BUDGET = 10**6
WORDS = ["Moisture", "Repair", "Gentle", "Daily", "Cream", "Organic", "Argan", "Oil", "Shampoo"]
WORDS += ["Nail", "Lacquer", "Bubble", "Bath", "Velvet", "Matte", "Lipstick", "Shadow", "Brush"]


def long_history(count: int = 5_000) -> list[HistoryEvent]:
    """Three years of a shop's customer: seven events in ten are plain, items come back."""
    draw = random.Random(3)  # noqa: S311
    titles = [f"{' '.join(draw.sample(WORDS, 5))}, {i % 9 + 1}.5 Ounce" for i in range(2_500)]
    events = []
    for i in range(count):
        item = min(int(draw.expovariate(1 / 700)), 2_499)
        action = draw.choices(["view", "click", "cart", "purchase", "rating"], [45, 25, 12, 12, 6])
        events.append(
            HistoryEvent(
                item_id=f"i{item}",
                title=titles[item],
                categories=("Beauty", "Care", f"Kind {item % 40}"),
                event=action[0],
                value=float(draw.randint(1, 5)) if action[0] == "rating" else None,
                timestamp=END - (count - i) * 3 * 365 * DAY // count,
            )
        )
    return events


def histories(datasets: list[str]) -> Iterator[tuple[str, list[HistoryEvent]]]:
    """The synthetic history, then the longest and the median one of each data set."""
    yield "synthetic", long_history()
    for name in datasets:
        data = load_dataset(name)
        order = np.argsort(-np.diff(data.histories.offsets), kind="stable")  # (users,)
        for what, place in (("longest", 0), ("median", len(order) // 2)):
            user = data.user_ids[int(order[place])]
            events = user_context(data, Request(user_id=user)).events
            yield f"{name}, {what} (user {user})", list(events)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", action="append", default=[])
    parser.add_argument("--model", default="bundled:smollm2-135m-instruct")
    parser.add_argument("--budget", type=int, nargs="*", default=[1_000, 4_000, NO_BUDGET])
    options = parser.parse_args()
    count = count_for(options.model)

    def sizes(field: str) -> tuple[int, int]:
        """Tokens with entities written out, and with one vector each."""
        message = Message("user", prompting._parts(field))
        return count(message.text), sum(
            count(part) if isinstance(part, str) else 1 for part in message.parts
        )

    print(
        "| history | events | budget | before | after | times fewer | hybrid | named | left out |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, events in histories(options.dataset):
        before = sizes(prompting.numbered([prompting.event_prompt(event) for event in events]))
        for budget in options.budget:
            made = compress(events, budget=budget, count=count)
            after = sizes(made.text)
            cells = (
                *(name, f"{len(events):,}", "none" if budget == NO_BUDGET else f"{budget:,}"),
                *(f"{before[0]:,}", f"{after[0]:,}", f"{before[0] / after[0]:.1f}"),
                *(f"{before[1]:,} → {after[1]:,}", f"{made.named:,}"),
                ", ".join(f"{why} {n:,}" for why, n in made.left_out.items()) or "nothing",
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
