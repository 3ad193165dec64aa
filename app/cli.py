"""The `foretaste` command. Each group of commands stands in its own file under `commands/`.

This file and those must import in well under a second, so that `--help` answers at once: heavy
libraries are imported inside the functions that need them.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from foretaste.app.commands import (
    app,
    bench,
    bench_hybrid,
    bench_scale,
    data,
    doctor,
    evaluate,
    evaluate_intent,
    evaluate_interest,
    finetune,
    finetune_adaptor,
    finetune_examples,
    finetune_flywheel,
    finetune_grpo,
    finetune_interest,
    finetune_judge_head,
    finetune_reward,
    finetune_sft,
    index,
    judge,
    judge_log,
    judge_people,
    judge_policies,
    judge_probe,
    models,
    profile,
    recommend,
    run,
    serve,
    user,
)
from foretaste.app.console import one_sentence
from foretaste.serving.arithmetic import keep_few_kernels, wait_patiently

cli = typer.Typer(
    name="foretaste",
    help="Fine-tune, serve, run and judge LLM recommendation agents on your own catalogue.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.command("doctor")(doctor.doctor)
cli.add_typer(data.group, name="data")
cli.add_typer(models.group, name="models")
cli.add_typer(serve.group, name="serve")
cli.command("index")(index.index)
cli.command("recommend")(recommend.recommend)
cli.command("run")(run.run)
cli.add_typer(profile.group, name="profile")
cli.add_typer(user.group, name="user")
cli.add_typer(evaluate.group, name="evaluate")
evaluate.group.command("intent")(evaluate_intent.intent)
evaluate.group.command("interest")(evaluate_interest.interest)
cli.add_typer(bench.group, name="bench")
bench.group.command("hybrid")(bench_hybrid.hybrid)
bench.group.command("scale")(bench_scale.scale)
cli.add_typer(finetune.group, name="finetune")
finetune.group.command("interest")(finetune_interest.interest)
finetune.group.command("adaptor")(finetune_adaptor.adaptor)
finetune.group.command("examples")(finetune_examples.examples)
finetune.group.command("sft")(finetune_sft.sft)
finetune.group.command("merge")(finetune_sft.merge)
finetune.group.command("export")(finetune_sft.export)
finetune.group.command("reward")(finetune_reward.reward)
finetune.group.command("grpo")(finetune_grpo.grpo)
finetune.group.command("flywheel")(finetune_flywheel.flywheel)
cli.command("app")(app.app)
cli.add_typer(judge.group, name="judge")
judge.group.command("agree")(judge_people.agree)
judge.group.command("calibrate")(judge_people.calibrate)
judge.group.command("probe")(judge_probe.probe)
judge.group.command("log")(judge_log.log)
judge.group.command("policies")(judge_policies.policies)
finetune.group.command("judge-head")(finetune_judge_head.judge_head)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("foretaste"))
        raise typer.Exit


@cli.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Entry point of the console script."""
    wait_patiently()
    keep_few_kernels()
    with one_sentence():
        cli()
