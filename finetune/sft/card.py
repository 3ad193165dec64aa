"""The model card of an adapter: data, terms, seed, command, figures, limits."""

from __future__ import annotations

from typing import Any

from foretaste.serving.bundled import BUNDLED, PREFIX

LIMITS = (
    "A small model with few steps: it writes in the form that the agents ask for and mostly copies "
    "names and orders from its prompt. It was trained for the prompts named above and for the agents' "
    "settings that stand in foretaste.json; asked otherwise, its answers fail the checks more often and "
    "the grounded twins stand in."
)


def card_text(name: str, record: dict[str, Any], figures: list[dict[str, Any]]) -> str:
    """Markdown about one adapter.

    Args:
        name: of the adapter.
        record: its `foretaste.json`.
        figures: objects of `evaluate intent --json` in which it is an arm.
    """
    training, data = record.get("training", {}), record.get("data", [])
    lines = [
        f"# {name}",
        "",
        (
            f"A LoRA of `{record.get('base', '?')}` for the agents' calls (planner, experts, arbiter, "
            "explainer, style), in bfloat16 safetensors."
        ),
        "",
        *_base(str(record.get("base", ""))),
        f"* sha256 of the weights: `{record.get('sha256', '?')}`",
        f"* prompts: `{record.get('prompts', '?')}` (an adapter of other prompts is not used by default)",
        (
            f"* training: {training.get('rows', '?')} rows, {training.get('steps', '?')} steps, best at "
            f"step {training.get('best_step', '?')}, {training.get('tokens', 0):,} tokens, seed "
            f"{training.get('seed', '?')}, {training.get('wall_s', '?')} s"
        ),
        f"* validation loss of answers: {_loss(training)}",
        f"* command: `{record.get('command', 'foretaste finetune sft')}`",
        f"* code: {record.get('code', 'unknown')}",
        "",
        "## Data",
    ]
    for one in data:
        lines += [
            (
                f"* {one.get('dataset', '?')} ({one.get('rows', '?')} rows, fingerprint "
                f"`{one.get('data_fingerprint', '?')}`): {one.get('terms') or 'no terms stated'} "
                f"Split: {one.get('split', '?')}."
            ),
        ]
    lines += ["", "## Figures", *(_table(name, one) for one in figures)]
    if not figures:
        lines.append("None measured yet; `foretaste evaluate intent` prints them.")
    return "\n".join([*lines, "", "## Limits", LIMITS, ""])


def _base(name: str) -> list[str]:
    """What is known of the model below: licence and note of a bundled one."""
    model = BUNDLED.get(name.removeprefix(PREFIX))
    return [f"* the model: {model.licence}; {model.note}"] if model else []


def _loss(training: dict[str, Any]) -> str:
    told = training.get("validation", {}).get("untrained", {}).get("loss")
    best = training.get("best_loss")
    return "?" if told is None or best is None else f"{told:.3f} untrained, {best:.3f} trained"


def _table(name: str, told: dict[str, Any]) -> str:
    """One table of `evaluate intent`."""
    head = (
        f"\n{told['dataset']}, {told['users']} {told['cases']} people, {told['categories']} leaf "
        "categories (`foretaste evaluate intent`):\n\n"
        "| arm | HR@5 | HR@10 | HR@30 | planner | expert | arbiter | explainer |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    rows = []
    for arm, own in told["arms"].items():
        rates = own.get("fallback_rate", {})
        shown = [_share(rates.get(one)) for one in ("planner", "expert", "arbiter", "explainer")]
        label = f"**{arm}**" if arm == name else arm
        hits = [f"{own[key]:.3f}" for key in ("hr@5", "hr@10", "hr@30")]
        rows.append(f"| {label} | " + " | ".join([*hits, *shown]) + " |")
    return head + "\n".join(rows) + "\n\nThe last four columns are shares of calls that fell back."


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
