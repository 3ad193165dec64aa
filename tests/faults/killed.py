"""Kill -9 of a command at a moment of its run; then what is there is read, and the command goes on."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import forks
from commands import Command, Found
from endpoint import endpoint
from trials import Seen, Verdict, call, compare, copied, leftovers, look, prepared, with_endpoint

_TRIES = 5  # at hitting a run before it ends


class Killed:
    """One command, killed.

    Args:
        command: which.
        seed: of the moments.
    """

    fault = "kill -9"
    most: int | None = None

    def __init__(self, command: Command, seed: int) -> None:
        self.command, self.name, self.seed = command, command.name, seed
        self.before: Found | None = None
        self.after: Found = {}
        self.seconds, self.changes = 0.0, 0

    def prepare(self, folder: Path) -> None:
        """The template, and the undisturbed run: how long it takes and what comes of it; once."""
        if self.after:
            return
        self.template = prepared(self.command, folder)
        self.undisturbed = folder / "undisturbed"
        home = copied(self.template, self.undisturbed)
        self.before = look(self.command, home).found
        with ExitStack() as stack:
            url = self._endpoint(stack, folder)
            words = with_endpoint(self.command, self.command.words(home), url)
            counted = home.parent / "changes.txt"
            ended = call(words, home, counted=counted, limit_s=self.command.limit_s)
        seen = look(self.command, home)
        if ended.code != 0 or seen.found is None:
            raise SystemExit(
                f"{self.name}: undisturbed it failed: {ended.said[-2000:]} {seen.said[-500:]}"
            )
        self.after, self.seconds = seen.found, ended.seconds
        self.changes = int(counted.read_text())

    def trial(self, number: int, folder: Path) -> Verdict:
        """Kill it once, look, run it again to its end, look again."""
        verdict = Verdict()
        with ExitStack() as stack:
            url = self._endpoint(stack, folder)
            home = self._hit(number, folder, url, verdict)
            self._halfway(look(self.command, home), verdict)
            self.go_on(home, url, verdict)
        return verdict

    def _endpoint(self, stack: ExitStack, folder: Path) -> str | None:
        if not self.command.endpoint:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        return stack.enter_context(endpoint(folder))

    def _hit(self, number: int, folder: Path, url: str | None, verdict: Verdict) -> Path:
        """A home in which the command was killed; the moment moves forward when it was too late."""
        seconds = self.seconds
        for attempt in range(_TRIES):
            home = copied(self.template, folder / f"try-{attempt}")
            moment = forks.moments(self.seed, seconds, self.changes, number)
            words = with_endpoint(self.command, self.command.words(home), url)
            ended = call(words, home, moment, limit_s=self.command.limit_s)
            if ended.code == -9:
                return home
            seconds /= 2
        verdict.faults.append(f"it could not be killed at {moment}: {ended.said[-300:]}")
        return home

    def _halfway(self, seen: Seen, verdict: Verdict) -> None:
        """What is read right after the kill is old, new, or refused with a sentence."""
        if seen.fault:
            verdict.corrupt += 1
            verdict.faults.append(f"reading after the kill: {seen.fault}: {seen.said[-600:]}")
        elif seen.found is None:
            if self.before is not None and not self.command.unready:
                verdict.lost += 1
                verdict.faults.append(f"what was there before is refused: {seen.said[-300:]}")
        elif not self.command.whole:
            compare(seen.found, self.after, verdict, part=True)
        elif seen.found not in (self.before, self.after):
            verdict.corrupt += 1
            verdict.faults.append("neither the old nor the new was read after the kill")

    def go_on(self, home: Path, url: str | None, verdict: Verdict) -> None:
        """The next run completes, with the result of the undisturbed one."""
        words = with_endpoint(self.command, self.command.words(home), url)
        limit_s = self.command.limit_s
        again = [*words, "--resume"] if self.command.resumes else words
        ended = call(again, home, limit_s=limit_s)
        if self.command.resumes and ended.code == 2 and "to resume" in ended.said:
            ended = call(words, home, limit_s=limit_s)
        if ended.code != 0 or ended.fault:
            verdict.faults.append(f"the next run did not complete: {ended.said[-600:]}")
            return
        seen = look(self.command, home)
        if seen.found is None:
            verdict.faults.append(f"its result is refused: {seen.said[-300:]}")
        else:
            compare(seen.found, self.after, verdict)
        if left := leftovers(home.parent):
            verdict.faults.append(f"left behind: {', '.join(left[:3])}")
