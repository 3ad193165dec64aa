"""Writes the invented shop in `data/`: python make.py. The same seed gives the same files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent / "data"
PEOPLE, SEED = 240, 7
BEGIN = 1_735_689_600  # seconds: 1 January 2025
DAY = 86_400
WAYS = ("view", "view", "view", "cart", "purchase")
SHELVES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Kitchen|Cups": (("mug", "espresso cup", "tumbler"), ("stoneware", "glass", "enamel")),
    "Kitchen|Pans": (("pan", "saucepan", "wok"), ("iron", "steel", "copper")),
    "Kitchen|Knives": (("chef's knife", "paring knife"), ("forged", "folding", "ceramic")),
    "Garden|Tools": (("trowel", "rake", "pruner"), ("ash-handled", "steel", "light")),
    "Garden|Seeds": (("tomato seeds", "bean seeds", "poppy seeds"), ("early", "heirloom")),
    "Books|Crime": (("mystery", "thriller", "detective story"), ("northern", "village", "harbour")),
    "Books|Cooking": (("cookbook", "baking book"), ("weekday", "wood-fire", "one-pot")),
    "Music|Strings": (("guitar strings", "violin strings", "capo"), ("nylon", "bronze")),
    "Music|Drums": (("drum sticks", "practice pad", "cymbal"), ("maple", "quiet")),
    "Sport|Climbing": (("rope", "chalk bag", "harness"), ("light", "braided", "training")),
    "Sport|Running": (("running shoes", "running belt", "cap"), ("trail", "road", "rain")),
    "Toys|Blocks": (("building blocks", "marble run", "puzzle"), ("wooden", "coloured")),
}


def items(draw: np.random.Generator) -> list[dict[str, str]]:
    """The catalogue: one item for every word of a shelf with every quality."""
    rows = []
    for shelf, (words, qualities) in SHELVES.items():
        for word in words:
            for quality in qualities:
                rows.append(
                    {
                        "item_id": f"p{len(rows) + 1:03d}",
                        "title": f"{quality.capitalize()} {word}",
                        "description": f"A {quality} {word} from the {shelf.split('|')[1].lower()} shelf.",
                        "category": shelf,
                        "price": f"{draw.uniform(4, 120):.2f}",
                    }
                )
    return rows


def interactions(
    catalogue: Sequence[dict[str, str]], draw: np.random.Generator
) -> list[dict[str, str | int]]:
    """What people did: each likes two shelves, stays on one for a while, and some items more."""
    shelves = list(SHELVES)
    rows: list[dict[str, str | int]] = []
    for person in range(1, PEOPLE + 1):
        liked = [int(one) for one in draw.choice(len(shelves), 2, replace=False)]
        shelf, now = liked[0], BEGIN + int(draw.integers(0, 300 * DAY))
        for _ in range(int(draw.integers(5, 22))):
            if draw.random() < 0.25:
                shelf = int(draw.choice(liked)) if draw.random() < 0.8 else int(draw.integers(12))
            there = [row["item_id"] for row in catalogue if row["category"] == shelves[shelf]]
            weights = 1 / np.arange(1, len(there) + 1)
            item = str(draw.choice(there, p=weights / weights.sum()))
            now += int(draw.exponential(2 * DAY)) + 60
            event = WAYS[int(draw.integers(len(WAYS)))]
            rows.append(
                {"user_id": f"u{person:03d}", "item_id": item, "timestamp": now, "event": event}
            )
    return rows


def write(name: str, rows: Iterable[dict[str, str]] | Iterable[dict[str, str | int]]) -> None:
    """Write a table with its heading."""
    table = list(rows)
    with (FOLDER / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def main() -> None:
    """Write both tables."""
    draw = np.random.default_rng(SEED)
    FOLDER.mkdir(exist_ok=True)
    catalogue = items(draw)
    write("items.csv", catalogue)
    write("interactions.csv", interactions(catalogue, draw))


if __name__ == "__main__":
    main()
