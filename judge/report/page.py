"""A report as one HTML page that needs nothing else: pictures, tables below them, the worst cases.

No text of others is markup here: everything is escaped, and the page may load nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from foretaste.agents.wording.prompting import clean
from foretaste.judge.batch.saved import Record
from foretaste.judge.objects import MARKS, Quote, Verdict
from foretaste.judge.report import charts
from foretaste.judge.report.gathered import Report, Shown
from foretaste.judge.report.markdown import (
    cost_line,
    evidence_line,
    named,
    part,
    position_line,
    span,
)

_TITLE = "What the judge said"
_SHOWN = 400  # characters of one text
_SUMMARY = 80  # characters of an answer in the line that opens its case
_CONFIG = {"displayModeBar": False, "responsive": True}


def page(report: Report) -> str:
    """The whole page as text."""
    from plotly.offline import get_plotlyjs

    body = "".join(
        [
            *(_run(one) for one in report.runs),
            *(_pairs(one) for one in report.pairs),
            _several(report),
            *(_people(one) for one in report.people),
            _calibration(report.people),
            _costs((*report.runs, *report.pairs)),
        ]
    )
    style = files("foretaste.judge").joinpath("report", "page.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{_TITLE}</title><style>{style}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><main><h1>{_TITLE}</h1>{body}</main></body></html>\n"
    )


def _run(run: Shown) -> str:
    """One run of `judge run`: tiers, dimensions, segments, worst cases."""
    figures = run.figures
    unread = figures["unreadable"]
    parts = [
        f"<p>{figures['cases']} cases, judged by {_text(named(figures['made_of']))}. "
        + (f"{unread} could not be read and have no tier.</p>" if unread else "All were read.</p>"),
    ]
    if any(figures["tiers"].values()):
        parts.append(_picture("Tiers", charts.tiers([run])))
    if figures["dimensions"]:
        parts.append(_picture("Marks by dimension", charts.dimensions(run)))
        parts.append(_numbers(("dimension", *MARKS), _marks(run)))
    if figures["evidence"]["marks"]:
        parts.append(f"<p>{_text(evidence_line(figures['evidence']))}</p>")
    if figures["disagreement"] is not None:
        parts.append(
            f"<p>Two judges of the panel differ in {figures['disagreement']:.0%} of the cases.</p>"
        )
    if figures["segments"]:
        parts.append(_picture("Score by segment", charts.segments(run)))
        parts.append(_numbers(("segment", "cases", "S", "A", "B", "score", "95 %"), _parts(run)))
    if run.worst:
        parts.append(f"<h3>The worst cases</h3>{''.join(map(_case, run.worst))}")
    return _section(run.name, parts)


def _pairs(run: Shown) -> str:
    """One run of `judge pairwise`: what is better, and what the order did."""
    figures = run.figures
    by = _text(named(figures["made_of"]))
    unread = figures["unreadable"]
    parts = [
        f"<p>{figures['cases']} pairs, judged by {by}; {unread} could not be read.</p>",
        _picture("Which answer is better", charts.preferences([run])),
        _numbers(
            ("better", "pairs", "share", "95 %"),
            [
                (side, figures[side]["n"], figures[side]["share"], span(figures[side]["interval"]))
                for side in ("first", "tie", "second")
            ],
        ),
        f"<p>{_text(position_line(figures))}</p>",
    ]
    return _section(run.name, parts)


def _several(report: Report) -> str:
    """How far several runs agree, and their tiers side by side."""
    parts = []
    if len(report.runs) > 1:
        parts.append(_picture("Tiers of all runs", charts.tiers(report.runs)))
    if any(found["kappa_quadratic"] is not None for found in report.between.values()):
        parts.append(_picture("Agreement on tiers (quadratic κ)", charts.agreement(report)))
    if report.between:
        keys = ("n", "accuracy", "kappa", "kappa_quadratic", "spearman")
        rows = [
            (f"{one} – {other}", *(found[key] for key in keys))
            for (one, other), found in report.between.items()
        ]
        parts.append(_numbers(("runs", "cases", "same tier", "κ", "κ quadratic", "Spearman"), rows))
    return _section("Runs side by side", parts) if parts else ""


def _people(one: Shown) -> str:
    """What `judge agree` measured."""
    return _section(
        f"{one.name}: against people",
        [
            f"<p>{one.figures.get('n', '?')} answers that people labelled.</p>",
            _picture("Agreement with people", charts.people(one)),
        ],
    )


def _calibration(people: Sequence[Shown]) -> str:
    curves = [one for one in people if (one.figures.get("calibration") or {}).get("curve")]
    if not curves:
        return ""
    return _section("Calibration", [_picture("Told and true", charts.calibration(curves))])


def _costs(shown: Sequence[Shown]) -> str:
    if not shown:
        return ""
    lines = [
        f"<li>{_text(one.name)}: {_text(cost_line(one.figures['cost']))}</li>" for one in shown
    ]
    spent = any(one.figures["cost"]["calls"] for one in shown)
    picture = [_picture("Tokens", charts.costs(shown))] if spent else []
    return _section("Cost", [*picture, f"<ul>{''.join(lines)}</ul>"])


def _case(one: Record) -> str:
    """One case with what speaks against it."""
    tier = one.tier or "none"
    head = (
        f'<b class="tier {tier}">{tier}</b> {_text(clean(" / ".join(one.answer), _SUMMARY))} '
        f"<small>{_text(one.id)}, score {one.score:.2f}</small>"
    )
    context = "".join(f"<p class=known>{_text(line)}</p>" for line in one.context)
    answer = "".join(f"<li>{_text(line)}</li>" for line in one.answer)
    bad = "".join(_verdict(verdict) for verdict in one.verdicts if verdict.mark != "positive")
    review = f"<p>Reviewer: {_text(one.review)}</p>" if one.review else ""
    return (
        f"<details><summary>{head}</summary>{context}<ul class=answer>{answer}</ul>{bad}{review}"
        "</details>"
    )


def _verdict(verdict: Verdict) -> str:
    quotes = "".join(_quote(quote) for quote in verdict.evidence)
    return (
        f'<div class=verdict><b class="mark {verdict.mark}">{_text(verdict.dimension)}: '
        f"{verdict.mark}</b> {_text(verdict.reason)}{quotes}</div>"
    )


def _quote(quote: Quote) -> str:
    where = f"in the {quote.found}" if quote.found else "stands nowhere"
    return f"<blockquote>{_text(quote.text)} <small>{where}</small></blockquote>"


def _marks(run: Shown) -> list[tuple[Any, ...]]:
    found = run.figures["dimensions"].items()
    return [(name, *(counts[mark] for mark in MARKS)) for name, counts in found]


def _parts(run: Shown) -> list[tuple[Any, ...]]:
    return [
        (f"{name}: {value}", figures["n"], *part(figures))
        for name, values in run.figures["segments"].items()
        for value, figures in values.items()
    ]


def _section(title: str, parts: Iterable[str]) -> str:
    return f"<section><h2>{_text(title)}</h2>{''.join(parts)}</section>"


def _picture(title: str, chart: Any) -> str:
    """A picture with its title; described for those who cannot see it by the numbers below it."""
    drawn = chart.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG)
    return f'<figure role="img" aria-label="{_text(title)}"><figcaption>{_text(title)}</figcaption>{drawn}</figure>'


def _numbers(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """The numbers behind a picture, folded away."""
    cells = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        "<details class=numbers><summary>Numbers</summary><div class=wide><table>"
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def _text(text: Any) -> str:
    """A text of others as plain text of the page."""
    return "–" if text is None else escape(clean(str(text), _SHOWN))
