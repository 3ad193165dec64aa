"""Figures of runs as Markdown, which a terminal shows as well; texts of others are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from foretaste.agents.wording.prompting import clean
from foretaste.judge.batch.saved import Record
from foretaste.judge.objects import MARKS, TIERS
from foretaste.judge.report.gathered import Report

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")  # what means something inside a line
_SHOWN = 300  # characters of one text


def markdown(report: Report) -> str:
    """The whole report as text: what the page shows, without pictures."""
    lines = ["# What the judge said", ""]
    for run in report.runs:
        lines += [f"## {escaped(run.name)}", "", *told(run.figures), ""]
        if run.worst:
            lines += ["### The worst cases", "", *worst_lines(run.worst), ""]
    for pairs in report.pairs:
        lines += [f"## {escaped(pairs.name)}", "", *told_pairs(pairs.figures), ""]
    if report.between:
        rows = [
            (f"{one} – {other}", *(_some(found[key]) for key in _BETWEEN))
            for (one, other), found in report.between.items()
        ]
        head = ("runs", "cases", "same tier", "κ", "κ quadratic", "Spearman")
        lines += ["## Runs side by side", "", *table(head, rows), ""]
    for one in report.people:
        lines += [f"## {escaped(one.name)}: against people", "", *_against_people(one.figures), ""]
    return "\n".join(lines)


def told(run: dict[str, Any]) -> list[str]:
    """The figures of `judge run`, a line each."""
    lines = [
        f"{run['cases']} cases, {run['unreadable']} unreadable; judged by {named(run['made_of'])}",
        "",
        *table(
            ("", "cases", *TIERS, "score", "95 %"),
            [("all", run["cases"] - run["unreadable"], *part(run)), *_segment_rows(run)],
        ),
    ]
    if run["dimensions"]:
        rows = [
            (name, *(counts[mark] for mark in MARKS)) for name, counts in run["dimensions"].items()
        ]
        lines += ["", *table(("dimension", *MARKS), rows)]
    if run["evidence"]["marks"]:
        lines += ["", evidence_line(run["evidence"])]
    if run["disagreement"] is not None:
        lines.append(f"Disagreement of the panel: {run['disagreement']:.2f} of the pairs of votes.")
    lines += ["", cost_line(run["cost"])]
    return [*lines, against_line(run["against"])] if "against" in run else lines


def told_pairs(run: dict[str, Any]) -> list[str]:
    """The figures of `judge pairwise`, a line each."""
    lines = [
        f"{run['cases']} pairs, {run['unreadable']} unreadable; judged by {named(run['made_of'])}",
        "",
        *table(("better", "pairs", "share", "95 %"), [_share(side, run[side]) for side in _SIDES]),
    ]
    if run["points"]:
        rows = [
            (name, *(counts[side] for side in _SIDES)) for name, counts in run["points"].items()
        ]
        lines += ["", *table(("readings by dimension", *_SIDES), rows)]
    return [*lines, "", position_line(run), cost_line(run["cost"])]


def told_comparison(found: dict[str, Any]) -> list[str]:
    """The figures of `judge compare`, a line each."""
    rows = [("all", *_outcome(found["total"]))]
    for name, values in found["segments"].items():
        rows += [(f"{name}: {value}", *_outcome(part)) for value, part in values.items()]
    unpaired = " and ".join(str(count) for count in found["unpaired"].values())
    return [
        f"The first against the second, paired by {found['paired_by']}; unpaired: {unpaired}.",
        "",
        *table(("", "n", "win", "tie", "loss", "gain", "95 %", "p"), rows),
        "",
        "p is the sign test over groups; of segments it is corrected by Holm's method.",
    ]


def worst_lines(records: Iterable[Record]) -> list[str]:
    """The worst cases with their reasons and evidence."""
    lines = []
    for one in records:
        lines.append(f"* **{escaped(one.id)}**, tier {one.tier or 'none'}, score {one.score}")
        lines.append(f"  {escaped(' / '.join(one.answer))}")
        for verdict in one.verdicts:
            if verdict.mark != "positive":
                said = f"  * {escaped(verdict.dimension)} {verdict.mark}: {escaped(verdict.reason)}"
                lines.append(
                    said + "".join(f" · {evidence(q.text, q.found)}" for q in verdict.evidence)
                )
    return lines


def evidence(text: str, found: str | None) -> str:
    """One quote with where it stands."""
    return f'"{escaped(text)}" ({found or "stands nowhere"})'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A Markdown table; cells are escaped.

    >>> table(("name", "n"), [("a|b", 2)])
    ['| name | n |', '|---|---|', '| a\\\\|b | 2 |']
    """
    return [
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
        *(f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows),
    ]


def escaped(text: Any) -> str:
    """A text of others as plain words of Markdown: one line, nothing of it markup.

    >>> escaped("[x](http://y) <b>")
    '\\\\[x\\\\](http://y) ‹b›'
    """
    if isinstance(text, int | float):
        return str(text)
    return _SPECIAL.sub(r"\\\1", clean(str(text), _SHOWN))


def part(figures: dict[str, Any]) -> tuple[Any, ...]:
    """Tiers and score of some cases, as cells."""
    score = figures["score"]
    return (
        *(figures["tiers"][tier] for tier in TIERS),
        "" if score["mean"] is None else f"{score['mean']:.3f}",
        span(score["interval"]),
    )


def span(interval: Sequence[float] | None) -> str:
    """An interval for people.

    >>> span([0.1, 0.25])
    '.100 to .250'
    """
    if interval is None:
        return ""
    return " to ".join(f"{end:.3f}".replace("0.", ".", 1) for end in interval)


def named(made_of: dict[str, str]) -> str:
    """Who judged, by which rubric."""
    model = f" {made_of['model']}" if made_of.get("model") else ""
    adapter = f" with {made_of['adapter']}" if made_of.get("adapter") else ""
    rubric = f", rubric {made_of['rubric']}" if made_of.get("rubric") else ""
    return f"{made_of.get('judge', 'an unknown judge')}{model}{adapter}{rubric}"


def cost_line(cost: dict[str, Any]) -> str:
    """What the judging cost."""
    return (
        f"{cost['calls']} calls, {cost['retries']} of them unreadable; {cost['prompt']:,} tokens "
        f"read ({cost['cached']:,} from the cache), {cost['completion']:,} written; "
        f"{cost['ms']:,.0f} ms a case, 95th percentile {cost['ms_p95']:,.0f}."
    )


def evidence_line(found: dict[str, int]) -> str:
    """How much of what was said rests on something."""
    quotes = f"{found['unsupported']} of {found['quotes']} quotes stand nowhere"
    return (
        f"{found['without']} of {found['marks']} marks rest on no quote that stands in what was "
        f"shown; {quotes if found['quotes'] else 'no quote was given'}."
    )


def against_line(found: dict[str, Any]) -> str:
    """How far two runs agree."""
    told = ", ".join(f"{name} {_some(found[key])}" for name, key in _KEYS)
    return f"Against the other run, {found['n']} cases that both scored: {told}."


def position_line(run: dict[str, Any]) -> str:
    """How much the order decided."""
    position = run["position"]
    if position["shown_first"] is None:
        return "No reading named one of two, so nothing can be said about the order."
    against = position["contradicted"]
    return (
        f"Of the readings that name one, {position['shown_first']:.0%} name the one shown first "
        f"(50 % without bias); {against or 0:.0%} of the pairs contradict themselves, "
        f"{position['ties']:.0%} of the readings say tie."
    )


_SIDES = ("first", "tie", "second")
_KEYS = (
    ("Spearman", "spearman"),
    ("same tier", "accuracy"),
    ("κ quadratic", "kappa_quadratic"),
    ("AUC of its defects", "roc_auc"),
    ("order within groups", "order"),
)
_BETWEEN = ("n", "accuracy", "kappa", "kappa_quadratic", "spearman")


def _against_people(figures: dict[str, Any]) -> list[str]:
    """A judge beside trivial judges and people, and its calibration."""
    rows = [(figures.get("judge", "judge"), figures), *figures["baselines"].items()]
    if figures.get("human"):
        rows.append(("one person and the others", figures["human"]))
    cells = [
        (name, _some(part.get("spearman")), _some(part.get("kappa_quadratic")))
        for name, part in rows
    ]
    lines = table(("", "Spearman", "κ quadratic"), cells)
    curve = (figures.get("calibration") or {}).get("curve")
    if curve:
        told = [(row["chance"], row["share"], row["n"]) for row in curve]
        lines += ["", *table(("chance, as told", "share of good answers", "answers"), told)]
    return lines


def _some(value: float | None) -> Any:
    return "–" if value is None else round(value, 4)


def _segment_rows(run: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (f"{name}: {value}", figures["n"], *part(figures))
        for name, values in run["segments"].items()
        for value, figures in values.items()
    ]


def _share(name: str, figures: dict[str, Any]) -> tuple[Any, ...]:
    share = "" if figures["share"] is None else f"{figures['share']:.3f}"
    return name, figures["n"], share, span(figures["interval"])


def _outcome(found: dict[str, Any]) -> tuple[Any, ...]:
    gain = found["gain"]
    return (
        found["n"],
        *(f"{found[name]['share']:.3f}" for name in ("win", "tie", "loss")),
        f"{gain['mean']:+.3f}",
        span(gain["interval"]),
        f"{found.get('p_holm', found['p']):.4f}",
    )
