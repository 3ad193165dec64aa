"""`judge agree` as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SHOWN = ("spearman", "kappa_quadratic", "kappa", "balanced_accuracy", "roc_auc")


def told_agreement(report: dict[str, Any]) -> Iterator[str]:
    """The report of `judge agree`, a line each."""
    yield f"{report['n']:,} rows in {report['split']['groups']:,} groups; {report['judge']}:"
    yield "  " + " ".join(f"{name:>17}" for name in ("", *_SHOWN))
    human = report["human"]
    if human:
        yield _row("people", human)
    yield _row(report["judge"], report)
    for name, figures in report["baselines"].items():
        yield _row(name, figures)
    for metric in ("spearman", "kappa_quadratic"):
        low_high = report["intervals"][metric]
        if low_high:
            yield f"  {metric}: 95 % interval over groups {low_high[0]:.3f} to {low_high[1]:.3f}"
    ahead = report["baselines"]["cosine"]["ahead"].get("spearman")
    if ahead and ahead["interval"]:
        low, high = ahead["interval"]
        yield f"  ahead of cosine by {ahead['delta']:.3f} ({low:.3f} to {high:.3f}) in spearman"
    for name, figures in (report.get("bias") or {}).items():
        if figures["effect"] is not None:
            yield f"  bias {name}: {figures['effect']:+.3f}"
    if report["pairs_per_second"]:
        new, known = report["pairs_per_second"], report["known_per_second"]
        yield f"  {new:,.0f} rows a second, {known:,.0f} where the vectors are known"


def _row(name: str, figures: dict[str, Any]) -> str:
    cells = [figures.get(key) for key in _SHOWN]
    return "  " + " ".join(
        [f"{name[:17]:>17}", *(f"{'–' if cell is None else f'{cell:.3f}':>17}" for cell in cells)]
    )
