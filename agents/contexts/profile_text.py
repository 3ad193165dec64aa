"""What was counted of a user as sentences, each with the items behind it.

A preference is told only when it is more than the catalogue explains: the user's share lies two
standard errors above the share of the items that are so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from foretaste.agents.contexts.profile import LATELY, PARTS, Catalogue, Tallies, Tally
from foretaste.agents.objects import Statement

INTERESTS = 4
ENOUGH = 5  # events from which shares and rates are told
OF_LATE = 1.5  # times the share among newer events, from which an interest grows or fades
APART = 0.5  # difference of mean ratings that is told
DEEP, BROAD = 0.75, 0.4  # evenness above which choices are spread, below which they are not


def statements(own: Tallies, catalogue: Catalogue) -> tuple[Statement, ...]:
    """The profile's statements, the most telling first; none for no events.

    Keys: interests, exploration, curiosity, depth, format, habits.
    """
    if not own.events:
        return ()
    made = [
        *_interests(own, catalogue),
        *_exploration(own, catalogue),
        *_format(own, catalogue),
        *_curiosity(own),
        *_depth(own),
        *_habits(own),
    ]
    return tuple(made)


def _interests(own: Tallies, catalogue: Catalogue) -> Iterable[Statement]:
    """Kinds by their recency-weighted count × log(1 / share of the catalogue)."""

    def telling(kind: str) -> float:
        share = catalogue.shares.get(kind, 0.0) or 1 / len(catalogue.dataset.item_ids)
        return own.kinds[kind].weight_at(own.events) * -math.log(min(share, 0.999))

    best = sorted(own.kinds, key=lambda kind: (-telling(kind), kind))[:INTERESTS]
    for kind in best:
        tally = own.kinds[kind]
        told = f"{kind}: {tally.n} of {_choices(own.events)}"
        yield _said("interests", told + _lately(own, tally) + _rated(own, tally), tally.items)


def _lately(own: Tallies, tally: Tally) -> str:
    if own.events < ENOUGH:
        return ""
    now = tally.weight_at(own.events) / own.every.weight_at(own.events)
    ever = tally.n / own.events
    if now >= OF_LATE * ever:
        return ", more of late"
    return ", less of late" if now * OF_LATE <= ever else ""


def _rated(own: Tallies, tally: Tally) -> str:
    if tally.rated < 3 or own.every.rated == tally.rated:
        return ""
    mean, usual = tally.rating / tally.rated, own.every.rating / own.every.rated
    if abs(mean - usual) < APART:
        return ""
    return f", rated {mean:.1f} where {usual:.1f} is usual"


def _exploration(own: Tallies, catalogue: Catalogue) -> Iterable[Statement]:
    """Evenness of kinds: entropy over the entropy of as many choices spread as far as can be."""
    counts = [tally.n for tally in own.kinds.values()]
    total = sum(counts)
    if own.events < ENOUGH or not total:
        return
    entropy = -sum(n / total * math.log(n / total) for n in counts)
    widest = min(total, max(catalogue.kinds, len(counts)))
    even = entropy / math.log(widest) if widest > 1 else 0.0
    if even >= DEEP:
        kind = "Explores"
    elif even <= BROAD:
        kind = "Specialises"
    else:
        kind = "Mixes favourites with new things"
    told = f"{kind}: {len(counts)} kinds in {_choices(own.events)} (evenness {even:.2f})"
    yield _said("exploration", told, own.opened)
    fresh = f"{sum(own.novel)} of the newest {min(own.events, LATELY)} choices brought a new kind"
    yield _said("exploration", fresh, own.opened)


def _curiosity(own: Tallies) -> Iterable[Statement]:
    """How many areas have a tenth of the choices, and how often a step changes the area."""
    if own.events < ENOUGH or not own.areas:
        return
    common = [name for name, tally in own.areas.items() if tally.n >= own.events / 10]
    common.sort(key=lambda name: (-own.areas[name].n, name))
    rate = own.switches / (own.events - 1)
    names = ", ".join(common[:4])
    kind = "Crosses areas" if rate >= 1 / 3 else "Goes area by area"
    kind = kind if len(common) > 1 else "Stays within"
    told = f"{kind}: {names}" if names else "No area has a tenth of the choices"
    evidence = [own.areas[name].items[-1] for name in common[:4]]
    yield _said("curiosity", f"{told}; {rate:.0%} of steps change the area", evidence)


def _depth(own: Tallies) -> Iterable[Statement]:
    if own.events < ENOUGH or not own.kinds:
        return
    top = min(own.kinds, key=lambda kind: (-own.kinds[kind].n, kind))
    tally = own.kinds[top]
    each = sum(one.n for one in own.kinds.values()) / len(own.kinds)
    kind = "Goes deep" if each >= ENOUGH or tally.n >= own.events / 2 else "Stays on the surface"
    told = f"{kind}: {each:.1f} choices a kind, {top} is {tally.n / own.events:.0%}"
    yield _said("depth", told, tally.items)


def _format(own: Tallies, catalogue: Catalogue) -> Iterable[Statement]:
    """Forms that are chosen more often than the catalogue has them, the surest two."""
    found = []
    for name, tally in own.forms.items():
        share, base = tally.n / own.events, catalogue.shares.get(name, 0.0)
        surplus = (share - base) / math.sqrt(max(base * (1 - base), 1e-6) / own.events)
        if tally.n >= 3 and surplus > 2:
            found.append((-surplus, name, tally, base))
    for _, name, tally, base in sorted(found, key=lambda one: one[:2])[:2]:
        told = f"Prefers {name}: {tally.n} of {_choices(own.events)} (catalogue {base:.0%})"
        yield _said("format", told, tally.items)


def _habits(own: Tallies) -> Iterable[Statement]:
    yield _said("habits", _activity(own), own.every.items[-1:])
    if own.repeats:
        told = f"Comes back: {own.repeats / own.events:.0%} of choices are items had before"
        yield _said("habits", told, own.repeated)
    if own.every.rated >= ENOUGH:
        mean = own.every.rating / own.every.rated
        yield _said("habits", f"Rates {mean:.1f} on average", own.every.items)
    part = max(range(len(PARTS)), key=lambda place: own.hours[place])
    if own.clocked >= ENOUGH and own.hours[part] >= own.clocked / 2:
        told = f"Mostly in the {PARTS[part]} (UTC): {own.hours[part] / own.clocked:.0%}"
        yield _said("habits", told, own.every.items)


def _activity(own: Tallies) -> str:
    action = min(own.actions, key=lambda name: (-own.actions[name].n, name))
    share = own.actions[action].n / own.events
    told = f"{_choices(own.events).capitalize()}, {share:.0%} {action}"
    if own.first is None or own.last is None:
        return told
    days = f"{own.days} days" if own.days > 1 else "one day"
    until = f" to {_date(own.last)}" if own.days > 1 else ""
    return f"{told}, on {days}: {_date(own.first)}{until}"


def _choices(count: int) -> str:
    return "1 choice" if count == 1 else f"{count} choices"


def _date(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).date().isoformat()


def _said(key: str, text: str, items: Iterable[str]) -> Statement:
    return Statement(key=key, text=text, evidence=tuple(dict.fromkeys(reversed(list(items)))))
