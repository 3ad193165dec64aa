"""`foretaste doctor`: is this machine ready, and what to do about each thing that is not."""

from __future__ import annotations

import typer

from foretaste.app.console import JsonOption, emit


def doctor(json_target: JsonOption = None) -> None:
    """Check Python, machine, installed versions, models, data and vLLM (about half a minute).

    Exits 1 when a check fails; each failed check says what to do about it.
    """
    from foretaste.app.checkup import all_checks

    checks = []
    for check in all_checks():
        checks.append(check)
        if json_target is None:
            print(f"{'ok  ' if check.ok else 'FAIL'} {check.name:<12} {check.detail}", flush=True)
            if not check.ok:
                print(f"{'':<17} -> {check.remedy}", flush=True)
    well = all(check.ok for check in checks)
    emit({"ok": well, "checks": [check.__dict__ for check in checks]}, json_target)
    if not well:
        raise typer.Exit(1)
