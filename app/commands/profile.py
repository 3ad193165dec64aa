"""`foretaste profile`: what is known about one user, with the items behind it, and deleting it."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.console import DatasetOption, JsonOption, emit, say

group = typer.Typer(help="Profiles of users: show one, delete one.", no_args_is_help=True)
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="A user of the data set.")]


@group.command()
def show(user: UserArgument, dataset: DatasetOption, json_target: JsonOption = None) -> None:
    """What a user's behaviour says about them, each statement with the items behind it."""
    from foretaste.app.profiles import shown, told

    profile = shown(dataset, user)
    if json_target != "-":
        for line in told(profile):
            print(line)
    emit(profile, json_target)


@group.command()
def delete(user: UserArgument, dataset: DatasetOption, json_target: JsonOption = None) -> None:
    """Delete the kept profile of a user. The history stays; a later recommendation makes it anew."""
    from foretaste.app.profiles import deleted

    found = deleted(dataset, user)
    say(f"{user}: {'deleted' if found else 'there was no profile'}")
    emit({"user_id": user, "dataset": dataset, "deleted": found}, json_target)
