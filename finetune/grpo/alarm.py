"""When reinforcement goes wrong: the policy runs away, stops exploring or writes rubbish."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW = 4  # steps that are averaged, so that one odd step rings nothing


@dataclass(frozen=True)
class Limits:
    """What counts as a collapse.

    Attributes:
        kl: nats a token away from the first model, at most.
        entropy: share of the entropy of the first steps that must be left.
        rubbish: invalid or repeated tags, as a share more than in the first steps, at most.
    """

    kl: float
    entropy: float
    rubbish: float


@dataclass
class Alarm:
    """Watches means over a few steps; the first of them are the yardstick.

    >>> alarm = Alarm(Limits(kl=1.0, entropy=0.3, rubbish=0.2))
    >>> for _ in range(4): alarm.hear(kl=0.0, entropy=2.0, invalid=0.1, duplicates=0.0)
    >>> for _ in range(4): said = alarm.hear(kl=0.1, entropy=0.1, invalid=0.1, duplicates=0.0)
    >>> said
    'entropy fell to 0.10 from 2.00'
    """

    limits: Limits
    heard: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    first: dict[str, float] = field(default_factory=dict)

    def hear(self, **figures: float) -> str | None:
        """Take in one step; what is wrong in a few words, or None.

        Args:
            figures: kl and entropy in nats a token; invalid and duplicates as shares of tags.
        """
        self.heard.append(figures)
        if len(self.heard) < WINDOW:
            return None
        mean = {name: sum(one[name] for one in self.heard) / WINDOW for name in figures}
        if not self.first:
            self.first = mean
        if mean["kl"] > self.limits.kl:
            return f"KL grew to {mean['kl']:.2f}"
        if mean["entropy"] < self.limits.entropy * self.first["entropy"]:
            return f"entropy fell to {mean['entropy']:.2f} from {self.first['entropy']:.2f}"
        for name in ("invalid", "duplicates"):
            if mean[name] > self.first[name] + self.limits.rubbish:
                return f"{name} rose to {mean[name]:.0%} from {self.first[name]:.0%}"
        return None
