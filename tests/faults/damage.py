"""Files of every kind that are cut off or altered: noticed, and mended by the command that made them."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path

from commands import Found
from endpoint import endpoint
from killed import Killed
from trials import Verdict, call, copied, look, with_endpoint

_NOT_OURS = ("model", "tables", "other", "answers.jsonl", "requests.jsonl")
_LEAST = 16  # trials; more where there are more files, so that each is damaged once
_NOT_READ = (".lock", ".serving", ".txt", "found.json", "-shm", "trl")


class Damaged:
    """One file that a command wrote, with a bit turned round or its end cut off.

    Of a file of lines whose end was cut off the whole lines that are left may be read, as after a kill,
    and running again makes the others. Lines without a checksum, in files whose form others decide, may
    differ where they were damaged.
    """

    most: int | None = None

    def __init__(self, killed: Killed, seed: int) -> None:
        self.killed, self.name, self.seed = killed, killed.name, seed
        self.fault = "file cut off or altered"

    def prepare(self, folder: Path) -> None:
        """The undisturbed run, and the files that it wrote."""
        self.killed.prepare(folder)
        self.whole = self.killed.undisturbed
        self.files = [
            path.relative_to(self.whole)
            for path in sorted(self.whole.rglob("*"))
            if path.is_file() and path.stat().st_size and not _other(path.relative_to(self.whole))
        ]
        self.most = max(_LEAST, len(self.files))

    def trial(self, number: int, folder: Path) -> Verdict:
        """Damage a file, look, run the command again, look again."""
        verdict = Verdict()
        draw = random.Random(f"{self.seed} damage {number}")
        file = self.files[number % len(self.files)]
        home = copied(self.whole, folder / "one")
        cut, how = _damage(home.parent / file, draw)
        self._look(home, f"{file} {how}", verdict, ended=not cut)
        with ExitStack() as stack:
            url = stack.enter_context(endpoint(folder)) if self.killed.command.endpoint else None
            words = with_endpoint(self.killed.command, self.killed.command.words(home), url)
            ended = call(words, home)
        if ended.fault or ended.code not in (0, 1, 2):
            verdict.faults.append(f"{file} {how}, run again: {ended.fault}: {ended.said[-700:]}")
        elif ended.code == 0:
            self._look(home, f"{file} {how}, made again", verdict, again=True)
        elif "foretaste: " not in ended.said:
            verdict.faults.append(f"{file} {how}: no sentence: {ended.said[-500:]}")
        return verdict

    def _look(
        self, home: Path, what: str, verdict: Verdict, *, ended: bool = True, again: bool = False
    ) -> None:
        """Read it: as it was, or refused with a sentence.

        Args:
            home: of the trial.
            what: was done, for the report.
            verdict: takes what is wrong.
            ended: whether the file's end is there.
            again: whether the command was run again.
        """
        seen = look(self.killed.command, home)
        if seen.fault:
            verdict.corrupt += 1
            verdict.faults.append(f"{what}: reading ends in: {seen.said[-700:]}")
        elif seen.found is not None and not self._allowed(seen.found, ended, again):
            verdict.corrupt += 1
            verdict.faults.append(f"{what}: read as if nothing had happened")

    def _allowed(self, found: Found, ended: bool, again: bool) -> bool:
        after = self.killed.after
        if self.killed.command.whole:
            return found in (after, self.killed.before)
        differ = [name for name in {*after, *found} if found.get(name) != after.get(name)]
        missing = [name for name in differ if name not in found]
        if not ended:
            return differ == missing
        if self.killed.command.plain:
            return sum(name in after for name in differ) <= 1
        return not differ or (not again and differ == missing and len(missing) == 1)


def _other(path: Path) -> bool:
    return path.parts[0] in _NOT_OURS or any(part.endswith(_NOT_READ) for part in path.parts)


def _damage(path: Path, draw: random.Random) -> tuple[bool, str]:
    """Turn a bit, cut the end off, or write zeros; whether it was cut, and what was done."""
    held = bytearray(path.read_bytes())
    size = len(held)
    kind = draw.choice(("bit", "cut", "zeros"))
    place = draw.randrange(size)
    if kind == "bit":
        held[place] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del held[place:]
    else:
        held[place : place + 64] = bytes(len(held[place : place + 64]))
    path.write_bytes(held)
    return kind == "cut", f"({kind} at {place} of {size})"
