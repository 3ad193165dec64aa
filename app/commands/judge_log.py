"""`foretaste judge log`: what a server showed, as tables for `judge policies`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.console import DatasetOption, JsonOption, emit, say


def log(
    dataset: DatasetOption,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the two tables go.")],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="love.FIELD=VALUE", help="What counts as love, and how much."
        ),
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Pages of our own server with propensities and rewards; docs/feedback.md.

    Then: judge policies --log FOLDER/shown.parquet --context place --person user_id --policy …
    """
    from foretaste.data.love import Love
    from foretaste.data.settings import groups_known, override
    from foretaste.judge.policies.own import write_log

    groups_known(changes or (), ("love",))
    report = write_log(dataset, out, override(Love(), "love", changes or ()))
    say(
        f"{report['pages']:,} pages, {report['places']:,} places, {report['by_chance']:.1%} of them "
        f"by chance, mean reward {report['reward']:.4f}, in {out}"
    )
    emit(report, json_target)
