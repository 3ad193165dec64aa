"""`foretaste user`: everything that is kept about one user, exported or deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.commands.profile import UserArgument
from foretaste.app.console import DatasetOption, JsonOption, emit, say

group = typer.Typer(help="Personal data: export or delete all about a user.", no_args_is_help=True)


@group.command()
def export(
    user: UserArgument,
    dataset: DatasetOption,
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="Where it is written.")],
) -> None:
    """Write everything that this home keeps about a user as one JSON file; docs/privacy.md."""
    from foretaste.app.personal import exported
    from foretaste.data.files import write_json

    write_json(out, exported(dataset, user))
    say(f"Everything about user {user!r} of {dataset}: {out}")


@group.command()
def delete(
    user: UserArgument,
    dataset: DatasetOption,
    caches: Annotated[
        bool, typer.Option("--caches", help="Also delete caches whose rows name nobody, whole.")
    ] = False,
    json_target: JsonOption = None,
) -> None:
    """Delete everything that this home keeps about a user, for good; docs/privacy.md.

    While a server runs over the data set ask that one: DELETE /v1/users/USER.
    """
    from foretaste.app.personal import deleted, told

    answer = deleted(dataset, user, caches)
    for line in told(answer):
        say(line)
    emit(answer, json_target)
