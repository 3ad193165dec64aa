"""The three ways to the tags without a language model, for evaluations."""

from __future__ import annotations

from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import Mode, Persona, Verdict
from foretaste.agents.reasoning import arbiter, expert, planner, routes, single
from foretaste.agents.retrieval.tools import Tools


def grounded(tools: Tools, reader: Reader, mode: Mode) -> tuple[list[Persona], list[Verdict]]:
    """What the grounded twins of a mode make of a history: what the graph makes without a model.

    Args:
        tools: of the graph.
        reader: whose history.
        mode: see `Request.mode`.

    Returns:
        The personas, and a verdict on every tag.
    """
    if not reader.context.events:
        return [], []
    if mode == "single":
        personas, proposal = single.grounded_answer(tools, reader)
        return personas, single.kept(proposal)
    if mode == "routes":
        personas = [routes.seen_from(tools, reader, n) for n in range(routes.count(tools, reader))]
    else:
        personas = planner.clustered(tools, reader)
    wanted = tools.config.tags
    proposals = [
        expert.grounded_tags(tools, reader, persona, number, wanted)
        for number, persona in enumerate(personas)
    ]
    tags = [tag for proposal in proposals for tag in proposal.tags]
    dropped = [verdict for proposal in proposals for verdict in proposal.dropped]
    if mode == "routes":
        return personas, routes.united(tags) + dropped
    unique, repeats = arbiter.without_repeats(tags)
    chosen = arbiter.chosen(tools, reader, personas, unique) if unique else []
    return personas, chosen + repeats + dropped
