"""A long history in few tokens: reliable behaviour compression (RecGPT-V1, arXiv 2507.22879).

What was done on purpose stays, plain views go when there is enough else; an item is its short
title and leaf category; a time is a day of this month, a month of this year, or a year; events are
grouped by (time, action) and then the other way round, so that a line names the items that were
treated alike:

    Oct(purchase), 3 Nov(rating 5) | Nail Polish: 4. Bubble Bath, 5. Lincoln Park; 6. Balm (Lips)

The newest events follow one a line and in full. What the budget has no room for is counted by
category in one line, and reported. The paper does not publish its budgets and thresholds: they
are parameters here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from foretaste.agents.contexts.counting import Count, byte_count
from foretaste.agents.objects import HistoryEvent, Search
from foretaste.agents.wording.prompting import clean, done, entity, named
from foretaste.data.errors import InputError

PLAIN = frozenset({"view", "click"})  # every other event is done on purpose
TITLE_WORDS, SHORT_CHARACTERS = 6, 36
TIMES = 3  # newest (time, actions) of one item that are named
KINDS = 8  # categories that the line of what is not listed names
LEVELS = 10  # a rating of a finer scale is named by the third of its range
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CUT = re.compile(r"\s*[(\[{|;].*|\s+[-–—]\s.*")
_SEPARATORS = re.compile(r"[,;:|]+(?=\s|$)")
Shown = Callable[[str, str], str]  # key and text of an item or a query → how it is written

Signature = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Compressed:
    """A history as a field of `prompting.messages`.

    Attributes:
        text: the lines. Items carry numbers from 1 and are marked as entities; the same item has
            the same number wherever it stands. Empty for no events.
        item_ids: the item of number n is `item_ids[n - 1]`; each item once.
        tokens: of the text, by the counter that was given: entities written out, or one token each
            where they are read as vectors.
        left_out: events that are not named, by reason: `plain` (views and clicks, when there is
            enough else), `counted` (only counted by category), `dropped` (not mentioned at all).
        named: events that are named, searches included; `named + sum(left_out.values())` is all.
    """

    text: str
    item_ids: tuple[str, ...]
    tokens: int
    left_out: dict[str, int]
    named: int


@dataclass(frozen=True)
class _Act:
    """One event or search: `key` is the item's id or the query, `action` as it is grouped."""

    key: str
    event: HistoryEvent | None
    action: str
    time: int | None

    @property
    def on_purpose(self) -> bool:
        return self.event is None or self.event.event not in PLAIN


@dataclass(frozen=True)
class _Entry:
    """One item or query with all that was done with it, events of the last lines aside.

    Attributes:
        last: place of its newest act in the history.
        acts: how many.
    """

    key: str
    text: str
    leaf: str
    signature: Signature
    last: int
    acts: int
    on_purpose: bool
    is_item: bool


@dataclass(frozen=True)
class _Page:
    """What is to be written: entries by name, the others as counts, the newest acts in full."""

    entries: Sequence[_Entry]
    others: Sequence[_Entry]
    latest: Sequence[_Act]
    now: int | None


def compress(
    events: Sequence[HistoryEvent],
    *,
    budget: int,
    recent: int = 10,
    searches: Sequence[Search] = (),
    count: Count = byte_count,
    now: float | None = None,
    enough: int = 20,
    vectors: bool = False,
) -> Compressed:
    """Write a history within a budget of tokens.

    Room is given to the `recent` newest events first, then to items with events on purpose, newest
    first, then to plain ones. A history that fits keeps every event on purpose.

    Args:
        events: oldest first.
        budget: tokens that the text may have; never exceeded.
        recent: newest events and searches that stand in full, one a line.
        searches: what was searched for, oldest first.
        count: tokens of a text; see `counting.count_for`.
        now: seconds; what day, month and year are relative to. The newest event's when None.
        enough: plain events are left out when at least so many events are on purpose.
        vectors: entities are read as one vector each (`serving/hybrid_prompt.py`): every item is
            written in full, its categories inside its entity, and counts as one token.

    Raises:
        InputError: a budget below 1 or a negative `recent`.
    """
    if budget < 1 or recent < 0:
        raise InputError(
            f"A budget of at least 1 token and 0 or more recent events were expected, not {budget} "
            f"and {recent}."
        )
    acts = _acts(events, searches)
    newest = max((act.time for act in acts if act.time is not None), default=None)
    moment = newest if now is None else int(now)
    start = max(len(acts) - recent, 0)
    places = list(enumerate(acts[:start]))
    plain = 0
    if sum(act.on_purpose for act in acts) >= enough:
        kept = [(place, act) for place, act in places if act.on_purpose]
        plain, places = len(places) - len(kept), kept
    shown = _one_token if vectors else _written_out

    def size(page: _Page) -> int:
        return count(_write(page, shown)[0])

    page = _fitting(_entries(places, moment, vectors), acts[start:], moment, budget, size)
    named = sum(entry.acts for entry in page.entries) + len(page.latest)
    counted = sum(entry.acts for entry in page.others)
    dropped = len(acts) - named - counted - plain
    left_out = {"plain": plain, "counted": counted, "dropped": dropped}
    text, item_ids = _write(page, entity)
    tokens = size(page) if text else 0
    return Compressed(text, item_ids, tokens, {k: n for k, n in left_out.items() if n}, named)


def short_title(title: str) -> str:
    """The core of a title: without brackets, side notes and separators, a few whole words.

    >>> short_title("Star Wars (1977)"), short_title("OPI Nail Lacquer, Bubble Bath, 0.5 Ounce")
    ('Star Wars', 'OPI Nail Lacquer Bubble Bath')
    """
    line = clean(title, 200)
    core = _SEPARATORS.sub("", _CUT.sub("", line)) or _SEPARATORS.sub("", line)
    said = core.split()[:TITLE_WORDS]
    while len(said) > 1 and (len(" ".join(said)) > SHORT_CHARACTERS or said[-1][0].isdigit()):
        said.pop()
    return " ".join(said)[:SHORT_CHARACTERS] or clean(title, SHORT_CHARACTERS)


def bucket(time: int, now: int) -> str:
    """A time as it is remembered: day in the month of `now`, month in its year, else year (UTC).

    >>> bucket(1_700_000_000, 1_700_600_000), bucket(1_690_000_000, 1_700_600_000)
    ('14 Nov', 'Jul')
    """
    then, today = datetime.fromtimestamp(time, UTC), datetime.fromtimestamp(now, UTC)
    if then.year != today.year:
        return str(then.year)
    month = _MONTHS[then.month - 1]
    return f"{then.day} {month}" if then.month == today.month else month


def _acts(events: Sequence[HistoryEvent], searches: Sequence[Search]) -> list[_Act]:
    """Events and searches in the order in which they came."""
    name = _namer(events)
    waiting = list(searches)
    acts: list[_Act] = []
    for place, event in enumerate(events):
        while waiting and waiting[0].after <= place:
            acts.append(_searched(waiting.pop(0)))
        acts.append(_Act(event.item_id, event, name(event), event.timestamp))
    return acts + [_searched(search) for search in waiting]


def _searched(search: Search) -> _Act:
    return _Act(clean(search.query), None, "search", search.timestamp)


def _namer(events: Sequence[HistoryEvent]) -> Callable[[HistoryEvent], str]:
    """Names an action; a rating carries its value, which parts what was liked from what was not."""
    values = {e.value for e in events if e.event == "rating" and e.value is not None}
    low, high = min(values, default=0.0), max(values, default=0.0)

    def name(event: HistoryEvent) -> str:
        kind = clean(event.event, 20)
        if event.event != "rating" or event.value is None:
            return kind
        if len(values) <= LEVELS:
            return f"{kind} {event.value:g}"
        third = min(int(3 * (event.value - low) / (high - low)), 2)
        return f"{kind} {('low', 'middle', 'high')[third]}"

    return name


def _written_out(key: str, text: str) -> str:
    return text


def _one_token(key: str, text: str) -> str:
    return "*"


def _entries(acts: Iterable[tuple[int, _Act]], now: int | None, full: bool) -> list[_Entry]:
    """Acts by item or query, with what should be named first in front."""
    grouped: dict[tuple[bool, str], list[tuple[int, _Act]]] = {}
    for place, act in acts:
        grouped.setdefault((act.event is not None, act.key), []).append((place, act))
    entries = [_entry(own, now, full) for own in grouped.values()]
    return sorted(entries, key=lambda entry: (not entry.on_purpose, -entry.last))


def _entry(own: Sequence[tuple[int, _Act]], now: int | None, full: bool) -> _Entry:
    last, act = own[-1]
    event = act.event
    times: dict[str, dict[str, None]] = {}
    for _, one in own:
        time = "" if one.time is None or now is None else bucket(one.time, now)
        times.setdefault(time, {})[one.action] = None
    newest = [(time, tuple(sorted(actions))) for time, actions in times.items()][-TIMES:]
    pairs = sum(len(actions) for actions in times.values())
    title = f'"{act.key}"'
    if event is not None:
        title = named(event) if full else short_title(event.title)
    repeats = f" ×{len(own)}" if len(own) > pairs else ""
    kinds = event.categories if event is not None and not full else ()
    leaf = clean(kinds[-1], 30) if kinds else ""
    return _Entry(
        key=act.key,
        text=title + repeats,
        leaf=leaf,
        signature=tuple(newest),
        last=last,
        acts=len(own),
        on_purpose=any(one.on_purpose for _, one in own),
        is_item=event is not None,
    )


def _fitting(
    entries: Sequence[_Entry],
    latest: Sequence[_Act],
    now: int | None,
    budget: int,
    size: Callable[[_Page], int],
) -> _Page:
    """As much as the budget has room for, by what matters: newest acts, counts, entries."""

    def page(listed: int, counts: bool = True) -> _Page:
        return _Page(entries[:listed], entries[listed:] if counts else (), latest, now)

    def bare(shown: int) -> _Page:
        return _Page((), (), latest[len(latest) - shown :], now)

    def fits(tried: _Page) -> bool:
        return size(tried) <= budget

    # No token is shorter than a byte, so a listed entry takes more than one.
    most = min(len(entries), budget)
    if most == len(entries) and fits(page(most)):
        return page(most)
    shown = _most(len(latest), lambda n: fits(bare(n)))
    if shown < len(latest):
        return bare(shown)
    counts = fits(page(0))
    return page(_most(most, lambda n: fits(page(n, counts))), counts)


def _most(high: int, fits: Callable[[int], bool]) -> int:
    """A number of `0..high` that fits, found by halving; 0 is taken to fit."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _write(page: _Page, shown: Shown) -> tuple[str, tuple[str, ...]]:
    """The lines, oldest first, and the item of each number.

    Args:
        page: what to write.
        shown: how items and queries are written.
    """
    numbers: dict[str, int] = {}
    lines = [_counts(page.others)] if page.others else []
    lines += [_line(group, numbers, shown) for group in _alike(page.entries)]
    if lines and page.latest:
        lines.append("Latest, in full:")
    lines += [_in_full(act, page.now, numbers, shown) for act in page.latest]
    return "\n".join(lines), tuple(numbers)


def _alike(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Entries with the same times and actions together; groups and members oldest first."""
    groups: dict[Signature, list[_Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.last):
        groups.setdefault(entry.signature, []).append(entry)
    return sorted(groups.values(), key=lambda group: group[-1].last)


def _line(group: Sequence[_Entry], numbers: dict[str, int], shown: Shown) -> str:
    """`time(actions), … | category: items; item (category); …`.

    The category of a single item stands inside its entity, so that the hybrid form has it for free.
    """
    told = ", ".join(
        f"{time}({', '.join(actions)})" if time else ", ".join(actions)
        for time, actions in group[0].signature
    )
    by_leaf: dict[str, list[_Entry]] = {}
    for entry in group:
        by_leaf.setdefault(entry.leaf, []).append(entry)
    parts = []
    for leaf, own in by_leaf.items():
        alone = f" ({leaf})" if leaf and len(own) == 1 else ""
        names = ", ".join(_listed(entry, alone, numbers, shown) for entry in own)
        parts.append(f"{leaf}: {names}" if leaf and not alone else names)
    return f"{told} | {'; '.join(parts)}"


def _listed(entry: _Entry, leaf: str, numbers: dict[str, int], shown: Shown) -> str:
    text = shown(entry.key, entry.text + leaf)
    if not entry.is_item:
        return text
    return f"{numbers.setdefault(entry.key, len(numbers) + 1)}. {text}"


def _in_full(act: _Act, now: int | None, numbers: dict[str, int], shown: Shown) -> str:
    """One act, exact."""
    day = f", {bucket(act.time, now)}" if act.time is not None and now is not None else ""
    if act.event is None:
        query = f'"{act.key}"'
        return f"search {shown(act.key, query)}{day}"
    number = numbers.setdefault(act.key, len(numbers) + 1)
    return f"{number}. {shown(act.key, named(act.event))}{done(act.event)}{day}"


def _counts(entries: Sequence[_Entry]) -> str:
    """What is not listed, as events a category."""
    kinds: Counter[str] = Counter()
    for entry in entries:
        kinds[entry.leaf or ("other" if entry.is_item else "searches")] += entry.acts
    named = kinds.most_common(KINDS)
    rest = kinds.total() - sum(n for _, n in named)
    told = [f"{kind} {n}" for kind, n in named] + ([f"more {rest}"] if rest else [])
    return f"Not listed: {', '.join(told)}"
