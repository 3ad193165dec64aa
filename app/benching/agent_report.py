"""From what was measured to the JSON object of `foretaste bench agents`, intervals and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foretaste.agents.objects import Mode
from foretaste.agents.recommend import versions
from foretaste.app.benching.agent_cases import Asked
from foretaste.app.benching.agent_figures import Floats, Ratio, Ratios
from foretaste.judge.intent.leaves import leaves
from foretaste.judge.ranking.bootstrap import interval, resampled_means

RESAMPLES = 1000
TOKENS = ("sent", "computed", "written")
SHARES = ("fallback_rate", "prefix_hit_rate")
PAIRED_BY = ("r@10", "n@10")
BEST_BY = "n@10"  # what the best single channel is best in
Key = tuple[str, ...]


@dataclass
class Measured:
    """What has been measured so far, by mode.

    Attributes:
        quality: over all people.
        channels: of the same runs, channel by channel.
        with_model: quality over the people that the model was asked about, when they are fewer.
        off, on: costs with the prefix cache off and on.
        seconds_off, seconds_on: wall seconds a user of the same.
    """

    quality: dict[Mode, Ratios] = field(default_factory=dict)
    channels: dict[Mode, dict[str, Ratios]] = field(default_factory=dict)
    with_model: dict[Mode, Ratios] = field(default_factory=dict)
    off: dict[Mode, Ratios] = field(default_factory=dict)
    on: dict[Mode, Ratios] = field(default_factory=dict)
    seconds_off: dict[Mode, float] = field(default_factory=dict)
    seconds_on: dict[Mode, float] = field(default_factory=dict)


class Compared:
    """Figures resampled together: each draw of people holds for all of them.

    Args:
        ratios: over the same people in the same order.
        seed: of the draws.
    """

    def __init__(self, ratios: Mapping[Key, Ratio], seed: int) -> None:
        self.ratios = ratios
        self._drawn: dict[Key, Floats] = {}
        if not ratios:
            return
        table = np.column_stack([column for ratio in ratios.values() for column in ratio])
        means = resampled_means(table, np.arange(len(table)), RESAMPLES, seed)
        for place, key in enumerate(ratios):
            self._drawn[key] = _over(means[:, 2 * place], means[:, 2 * place + 1])

    def value(self, key: Key) -> float | None:
        """One figure."""
        return _rounded(self.ratios[key].value())

    def interval(self, key: Key) -> list[float] | None:
        """The middle 95 % of its draws."""
        return _ends(self._drawn[key])

    def pair(self, one: Key, other: Key) -> dict[str, Any]:
        """delta = one - other with its interval; relative = one / other - 1 with its own."""
        mine, theirs = self.ratios[one].value(), self.ratios[other].value()
        delta, relative = None, None
        if mine is not None and theirs is not None:
            delta = mine - theirs
            relative = mine / theirs - 1 if theirs else None
        low, high = _ends(self._drawn[one] - self._drawn[other]) or (None, None)
        share = _ends(_over(self._drawn[one], self._drawn[other]) - 1)
        return {
            "delta": _rounded(delta),
            "low": low,
            "high": high,
            "relative": _rounded(relative),
            "relative_interval": share,
        }


def report(asked: Asked, measured: Measured, told: dict[str, Any], seed: int) -> dict[str, Any]:
    """The whole object, with what has been measured so far.

    Args:
        asked: the people.
        measured: what is known.
        told: keys about the call that come first.
        seed: of the bootstrap.
    """
    good = Compared(_of_quality(measured), seed)
    spent = Compared(_of_cost(measured), seed)
    with_model = Compared(_flat(measured.with_model), seed)
    return {
        **told,
        "users": len(asked.users),
        "users_with_enough": asked.enough,
        "repeats": asked.repeats,
        "items": len(asked.tools.dataset.item_ids),
        "collaborative": asked.tools.mix.name if asked.tools.mix else asked.tools.rule.name,
        "leaf_categories": len(leaves(asked.tools.dataset)[0]),
        "protocol": f"{asked.rule} Fitted on train, history dropped, all items.",
        "resamples": RESAMPLES,
        "seed": seed,
        "modes": {
            mode: _mode(mode, measured, good, spent, with_model)
            for mode in dict.fromkeys([*measured.quality, *measured.off])
        },
        "channels": _channels(good),
        "pairs": _pairs(measured, good, spent),
        "settings": asked.tools.config.model_dump(),
        "versions": versions(asked.tools),
    }


def _flat(by_mode: Mapping[Mode, Ratios]) -> dict[Key, Ratio]:
    return {(mode, name): one for mode, ratios in by_mode.items() for name, one in ratios.items()}


def _of_quality(measured: Measured) -> dict[Key, Ratio]:
    """Figures of modes under (mode, name), of channels under ("channel", channel, name)."""
    found = _flat(measured.quality)
    for mode, own in measured.channels.items():
        for channel, ratios in own.items():
            name = f"{channel}_{mode}" if channel in ("tags", "towers") else channel
            for metric, ratio in ratios.items():
                found.setdefault(("channel", name, metric), ratio)
        for metric in PAIRED_BY:
            found["channel", f"page_{mode}", metric] = measured.quality[mode][metric]
    return found


def _of_cost(measured: Measured) -> dict[Key, Ratio]:
    both = {"off": measured.off, "on": measured.on}
    return {
        (cache, mode, name): ratio
        for cache, by_mode in both.items()
        for mode, ratios in by_mode.items()
        for name, ratio in ratios.items()
    }


def _mode(
    mode: Mode, measured: Measured, good: Compared, spent: Compared, with_model: Compared
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "tokens_per_user": _tokens(spent, "off", mode),
        "tokens_per_user_cached": _tokens(spent, "on", mode),
        "seconds_per_user": _rounded(measured.seconds_on.get(mode)),
        "seconds_per_user_uncached": _rounded(measured.seconds_off.get(mode)),
    }
    names = measured.quality.get(mode, {})
    figures |= {name: good.value((mode, name)) for name in names}
    for name in SHARES:
        key = ("on", mode, name)
        figures[name] = spent.value(key) if key in spent.ratios else None
    figures["intervals"] = {name: good.interval((mode, name)) for name in names}
    if mode in measured.with_model:
        figures["with_model"] = {
            name: with_model.value((mode, name)) for name in measured.with_model[mode]
        }
    return figures


def _tokens(spent: Compared, cache: str, mode: Mode) -> dict[str, float | None] | None:
    if (cache, mode, "sent") not in spent.ratios:
        return None
    return {name: spent.value((cache, mode, name)) for name in (*TOKENS, "calls", "intents")}


def _channels(good: Compared) -> dict[str, Any]:
    names = dict.fromkeys(key[1] for key in good.ratios if key[0] == "channel")
    return {
        name: {metric: good.value(("channel", name, metric)) for metric in PAIRED_BY}
        | {"intervals": {m: good.interval(("channel", name, m)) for m in PAIRED_BY}}
        for name in sorted(names)
    }


def _pairs(measured: Measured, good: Compared, spent: Compared) -> dict[str, Any]:
    """The first mode against each other one, and each page against its best single channel."""
    modes = list(measured.quality)
    pairs: dict[str, Any] = {}
    for other in modes[1:]:
        pairs[f"{modes[0]}-{other}"] = {
            name: good.pair((modes[0], name), (other, name)) for name in measured.quality[other]
        } | {
            f"{name}_{cache}": spent.pair((cache, modes[0], name), (cache, other, name))
            for cache in ("off", "on")
            for name in TOKENS
            if {(cache, modes[0], name), (cache, other, name)} <= spent.ratios.keys()
        }
    pairs["page-best_channel"] = {
        mode: _against_best(mode, set(measured.channels[mode]), good) for mode in modes
    }
    return pairs


def _against_best(mode: Mode, channels: set[str], good: Compared) -> dict[str, Any] | None:
    """The page against the channel with the best `BEST_BY` on these same people.

    The best of several on the people that are asked about is flattered, so the page has no
    advantage from the choice.
    """
    own = {f"{name}_{mode}" if name in ("tags", "towers") else name for name in channels}
    if not own:
        return None
    best = max(sorted(own), key=lambda name: good.value(("channel", name, BEST_BY)) or 0.0)
    page = f"page_{mode}"
    return {"channel": best} | {
        metric: good.pair(("channel", page, metric), ("channel", best, metric))
        for metric in PAIRED_BY
    }


def _over(part: Floats, whole: Floats) -> Floats:
    """part / whole, NaN where there is nothing to divide by."""
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _ends(draws: Floats) -> list[float] | None:
    found = interval(draws)
    return [round(end, 5) for end in found] if found else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
