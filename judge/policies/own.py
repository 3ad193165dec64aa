"""The log of our own server as tables that `judge policies` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from foretaste.data.errors import InputError
from foretaste.data.files import replacing
from foretaste.data.love import Love, loved_table

SHOWN, RANKED = "shown.parquet", "ranked.parquet"
PLACE = "place"


def write_log(dataset: str, out: Path, love: Love | None = None) -> dict[str, Any]:
    """Write what a server showed, and the policy that leaves nothing to chance.

    `shown.parquet` has a row for each place of each page: `place` (request and position, which is
    what a policy decides about), user_id, item_id, position, reward, propensity, policy and more.
    `ranked.parquet` is a candidate: at each place the item that the ranking put there.

    Args:
        dataset: that was served.
        out: folder, made when missing.
        love: what a reward is.

    Returns:
        pages, places, users, by_chance (share of places where another item might have stood), mean
        reward, policies (version → places), and the files.

    Raises:
        InputError: nothing was shown.
    """
    shown = loved_table(dataset, love)
    if shown.is_empty():
        raise InputError(
            f"No page of {dataset} was logged in this home; serve it first (`foretaste serve`)."
        )
    place = pl.format("{}/{}", "request_id", "position")
    table = shown.with_columns(place.alias(PLACE)).select(
        *(PLACE, "user_id", "item_id", "position", "reward", "propensity", "policy", "request_id"),
        *("at", "score", "channel", "explores", "thumb", "love", "gate"),
    )
    with replacing(out / SHOWN) as part:
        table.write_parquet(part)
    with replacing(out / RANKED) as part:
        ranked(shown).write_parquet(part)
    certain = float((shown["propensity"] >= 1).mean())  # type: ignore[arg-type]
    return {
        "dataset": dataset,
        "pages": shown["request_id"].n_unique(),
        "places": shown.height,
        "users": shown["user_id"].n_unique(),
        "by_chance": round(1 - certain, 4),
        "reward": float(shown["reward"].mean()),  # type: ignore[arg-type]
        "policies": dict(sorted(shown["policy"].value_counts().iter_rows())),
        "files": [str(out / SHOWN), str(out / RANKED)],
    }


def ranked(shown: pl.DataFrame) -> pl.DataFrame:
    """The policy without chance, as a table of place, item_id and probability.

    Neighbours change places with a chance of a half at most, so the likeliest item of a place is the
    one that was ranked there.
    """
    likeliest = pl.col("chances").list.eval(
        pl.element().sort_by(pl.element().struct.field("chance"), descending=True)
    )
    return shown.select(
        pl.format("{}/{}", "request_id", "position").alias(PLACE),
        likeliest.list.first().struct.field("item_id"),
        pl.lit(1.0).alias("probability"),
    )
