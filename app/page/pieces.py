"""Small pieces of HTML. Every text of a catalogue, a person or a model goes through `text` first.

Nothing that came from data can end a tag or begin one, so a title with markup or script stays inert.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from foretaste.agents.wording.prompting import clean

LONGEST = 400  # characters of one text


def text(value: object, most: int = LONGEST) -> str:
    """A value as inert HTML text, cut to `most` characters.

    >>> text("<b>Bold</b> & co")
    '‹b›Bold‹/b› &amp; co'
    """
    return html.escape(clean(str(value), most))


def note(sentence: str) -> str:
    """A quiet line."""
    return f'<p class="ft-note">{text(sentence)}</p>'


def fault(sentence: str) -> str:
    """What went wrong, in one sentence; read out at once by screen readers."""
    return f'<p class="ft-fault" role="alert">{text(sentence)}</p>'


def chips(texts: Iterable[str], kind: str = "") -> str:
    """A list of short texts.

    Args:
        texts: what stands in them.
        kind: another class of theirs.
    """
    rows = [f'<li class="ft-chip {kind}">{text(one, 80)}</li>' for one in texts]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""


def numbered(rows: Iterable[str]) -> str:
    """A numbered list of `<li>` rows, which are HTML already."""
    return f'<ol class="ft-list">{"".join(rows)}</ol>'


def box(title: str, who: str, body: str, kind: str = "") -> str:
    """One agent's work: what it is called, who made it, and what (HTML).

    Args:
        title, who: as text.
        body: as HTML.
        kind: another class of the box.
    """
    return (
        f'<section class="ft-box {kind}"><h2>{text(title, 120)}</h2>'
        f'<span class="ft-who">{text(who, 80)}</span>{body}</section>'
    )


def boxes(parts: Sequence[str]) -> str:
    """Boxes side by side, as many as fit."""
    return f'<div class="ft-agents">{"".join(parts)}</div>' if parts else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: bool = False) -> str:
    """A table; the cells are HTML already.

    Args:
        head: of the columns; without one the first cell names its row.
        rows: of cells.
        words: whether the cells are words, which begin at the left; numbers end at the right.
    """
    if not head:
        named = "".join(f'<tr><th scope="row">{a}</th><td>{b}</td></tr>' for a, b in rows)
        return f'<table class="ft-bars"><tbody>{named}</tbody></table>'
    top = "".join(f'<th scope="col">{text(one)}</th>' for one in head)
    body = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in rows)
    return (
        f'<div class="ft-scroll" tabindex="0"><table class="ft-bars{" ft-words" if words else ""}">'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bar(share: float, what: str) -> str:
    """A horizontal bar for a share in [0, 1]; `what` is read out."""
    width = round(100 * min(max(share, 0.0), 1.0))
    return (
        f'<span class="ft-bar" role="img" aria-label="{text(what)}" style="width:{width}%"></span>'
    )


def cover(title: str, image_url: str | None) -> str:
    """An item's picture, or a cover made from its title; both are decoration beside the title."""
    if image_url and urlsplit(image_url).scheme in ("http", "https"):
        source = html.escape(image_url, quote=True)
        return f'<img src="{source}" alt="" loading="lazy" referrerpolicy="no-referrer">'
    hue = int(hashlib.sha256(title.encode()).hexdigest()[:4], 16) % 360
    letters = text("".join(word[0] for word in title.split()[:2] if word[0].isalnum()).upper())
    return (
        '<svg viewBox="0 0 60 84" aria-hidden="true" focusable="false">'
        f'<rect width="60" height="84" fill="hsl({hue} 45% 32%)"/>'
        f'<circle cx="46" cy="18" r="26" fill="hsl({(hue + 40) % 360} 55% 45%)" opacity=".55"/>'
        f'<text x="30" y="52" text-anchor="middle" font-size="22" fill="#fff">{letters}</text></svg>'
    )


def card(number: int, one: Mapping[str, Any], categories: Sequence[str], picture: str) -> str:
    """One recommended item.

    Args:
        number: its place, from 1 on.
        one: a row of `recommendations` of the result.
        categories: of the item.
        picture: HTML of its cover.
    """
    found = f"found by {one['channel']}" + (f" for {', '.join(one['tags'])}" if one["tags"] else "")
    return (
        f'<article class="ft-card">{picture}<div><h2>{number}. {text(one["title"], 160)}</h2>'
        f"{chips(categories[:4])}<p>{text(one['explanation'])}</p>"
        f'<p class="ft-who">{text(found)} · score {one["score"]:.3f}</p>{_breakdown(one)}'
        "</div></article>"
    )


def _breakdown(one: Mapping[str, Any]) -> str:
    """Where the score comes from: each channel's place and score, and what the page's rules did."""
    placement = one.get("placement")
    if not placement:
        return ""
    channels = table(
        ("channel", "place", "its own score"),
        (
            (text(name), f"{rank}", _score(placement["scores"].get(name)))
            for name, rank in placement["ranks"].items()
        ),
    )
    lines = [f"Relevance {placement['relevance']:.2f} of the best on offer."]
    if placement["explores"]:
        lines.append("An exploration: the agents found it, and no other channel would show it.")
    if placement["nearest"]:
        lines.append(f"Likeness to the nearest item above it: {placement['likeness']:.2f}.")
    if placement["passed_over"]:
        lines.append(f"{len(placement['passed_over'])} items had to stand aside here.")
    told = "".join(note(line) for line in lines)
    return f"<details><summary>Where its score comes from</summary>{told}{channels}</details>"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def progress(done: int, total: int, seconds: float, what: str) -> str:
    """How far long work is, with the time left.

    Args:
        done, total: pieces of work.
        seconds: since it began, when `done` was nothing.
        what: happens to the pieces, as in "4 of 9 are judged".
    """
    left = f", about {seconds * (total - done) / done:,.0f} s left" if 0 < done < total else ""
    line = f"{done} of {total} {what}{left}"
    return (
        f'<div role="status">{note(line)}</div><div class="ft-progress" role="progressbar" '
        f'aria-label="{text(what)}" aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}">'
        f'<span class="ft-bar" style="width:{round(100 * done / max(total, 1))}%"></span></div>'
    )
