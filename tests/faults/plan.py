"""Every scenario of the suite, in the order of the report."""

from __future__ import annotations

from changing import Feedback, IndexChanges
from commands import COMMANDS
from damage import Damaged
from disk import Full, ReadOnly
from endpoint import KINDS
from killed import Killed
from load import EngineUnderLoad
from others import Backwards, BadEndpoint, EngineKilled, Together
from pipeline import RunKilled
from trials import Scenario
from workers import RayKilled, importable


def scenarios(seed: int) -> list[Scenario]:
    """All of them; `seed` decides their moments."""
    by_name = {command.name: Killed(command, seed) for command in COMMANDS}
    every = list(by_name.values())
    made: list[Scenario] = [*every]
    made += [IndexChanges(seed), Feedback(seed), EngineKilled(by_name["batch"], seed)]
    made += [EngineUnderLoad(seed), RunKilled(seed)]
    made += [RayKilled(by_name["recommend --all"], seed)] if importable() else []
    made += [Full(one, seed) for one in every]
    made += [ReadOnly(one) for one in every]
    made += [Damaged(one, seed) for one in every]
    asked = [one for one in every if one.command.endpoint]
    made += [BadEndpoint(one, kind) for one in asked for kind in KINDS[1:]]
    made += [Backwards(one) for one in every]
    made += [Together(one) for one in every]
    return made
