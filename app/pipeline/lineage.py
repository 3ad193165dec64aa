"""From a figure to the rows that made it: step, command, options, code, inputs, and theirs in turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from foretaste.app.pipeline.figures import Figure, figures_of, shown
from foretaste.app.pipeline.plan import Pipeline, Step
from foretaste.app.pipeline.records import Done, done_of
from foretaste.app.pipeline.resources import Resource, digest, files_of, fingerprint, place, tables
from foretaste.data.errors import InputError
from foretaste.data.files import sha256

_ROWS = (".jsonl", ".csv", ".tsv", ".inter", ".item", ".user")  # one row a line


def lineage(pipeline: Pipeline) -> dict[str, Any]:
    """The whole of `lineage.json`: every figure of the report, and every step with what it read.

    Returns:
        `pipeline` (file and sha256), `figures` (name → step, value, file, pointer), `steps` (name →
        command, options, key, code, inputs, outputs, rows, time), `inputs` (what no step made).
    """
    figures, steps = {}, {}
    for step in pipeline.steps:
        done = done_of(step, pipeline)
        if done is None:
            continue
        steps[step.name] = _told(step, done, pipeline)
        for one in shown(step, figures_of(step, pipeline)):
            figures[one.name] = {
                "step": step.name,
                "value": one.value,
                "file": step.figures,
                "pointer": one.pointer,
            }
    return {
        "pipeline": {"file": pipeline.path.name, "sha256": sha256(pipeline.path)},
        "name": pipeline.name,
        "figures": figures,
        "steps": steps,
    }


def why(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """One figure of any step and the chain that leads to its rows, nearest step first.

    Raises:
        InputError: no such step or figure, or the step has not been done.
    """
    step = pipeline.step(name.partition(".")[0])
    done = done_of(step, pipeline)
    if done is None or step.figures is None:
        raise InputError(f"{step.name} has no figures, or has not been done; run it first.")
    if fingerprint(Resource("file", step.figures), pipeline.base) != done.outputs[step.figures]:
        raise InputError(
            f"{step.figures} is not what {step.name} made when it was done: it is under way again, was "
            "stopped, or somebody altered it; run the pipeline again."
        )
    found = {one.name: one for one in figures_of(step, pipeline)}
    if name not in found:
        near = ", ".join(get_close_matches(name, found, 3, 0.3) or list(found)[:3])
        told = f"near it are: {near}" if near else f"it printed no numbers ({step.figures})"
        raise InputError(f"{step.name} has no figure {name!r}; {told}.")
    figure: Figure = found[name]
    chain = [{"step": one.name} | told for one, told in _chain(step, pipeline)]
    return {
        "figure": name,
        "value": figure.value,
        "interval": figure.span,
        "file": step.figures,
        "pointer": figure.pointer,
        "chain": chain,
    }


def said(found: dict[str, Any]) -> list[str]:
    """What `why` found, as lines for people."""
    lines = [f"{found['figure']} = {found['value']}"]
    if found["interval"]:
        lines[0] += f"  [{found['interval'][0]}, {found['interval'][1]}]"
    lines.append(f"  stands in {found['file']} at {found['pointer']}")
    for one in found["chain"]:
        lines += [
            f"{one['step']}: {one['command']}",
            f"  ended {one['ended']}, {one['seconds']:.1f} s; code {one['code']}, key {one['key']}",
        ]
        if one["settings"]:
            lines.append(f"  settings {json.dumps(one['settings'], sort_keys=True)}")
        for name, about in one["inputs"].items():
            made = f", made by {about['made_by']}" if about["made_by"] else ""
            lines.append(f"  read {name} ({about['fingerprint']}){made}")
            lines += [
                f"    {file['rows']:,} rows  {file['file']}  sha256 {file['sha256'][:16]}…"
                for file in about["files"]
                if file["rows"] is not None
            ]
    return lines


def _chain(step: Step, pipeline: Pipeline) -> Iterator[tuple[Step, dict[str, Any]]]:
    """A step and all that it rests on, each once, nearest first."""
    waiting, met = [step], {step.name}
    while waiting:
        one = waiting.pop(0)
        done = done_of(one, pipeline)
        if done is None:
            continue
        told = _told(one, done, pipeline)
        yield one, told
        for about in told["inputs"].values():
            if about["made_by"] and about["made_by"] not in met:
                met.add(about["made_by"])
                waiting.append(pipeline.step(about["made_by"]))


def _told(step: Step, done: Done, pipeline: Pipeline) -> dict[str, Any]:
    inputs = {}
    for resource in step.inputs:
        found = done.parts["inputs"].get(str(resource))
        if found is None:
            continue
        maker = pipeline.maker(resource)
        inputs[str(resource)] = {
            "fingerprint": found,
            "made_by": maker.name if maker and maker is not step else None,
            "files": _files(resource, pipeline),
        }
    return {
        "command": " ".join(["foretaste", *done.line]),
        "options": done.options,
        "settings": done.settings,
        "key": done.key,
        "code": done.parts["code"],
        "versions": done.versions,
        "inputs": inputs,
        "outputs": done.outputs,
        "ended": done.ended,
        "seconds": done.spent.seconds,
        "cpu_s": done.spent.cpu_s,
        "peak_mb": done.spent.peak_mb,
        "attempts": done.attempts,
        "resumed": done.resumed,
    }


def _files(resource: Resource, pipeline: Pipeline) -> list[dict[str, Any]]:
    """The files behind an input: name, sha256 and, where it is a table, rows."""
    if resource.kind == "dataset":
        return [
            {"file": f"{table}.parquet", "sha256": about["sha256"], "rows": about["rows"]}
            for table, about in tables(resource.name).items()
        ]
    path = place(resource, pipeline.base)
    if path is None or not path.exists():
        return []
    return [
        {"file": name, "sha256": digest(file), "rows": _rows(file)} for name, file in files_of(path)
    ]


def _rows(path: Path) -> int | None:
    """Rows of a table, its heading not counted; None for what is no table."""
    if path.suffix == ".parquet":
        from pyarrow.parquet import read_metadata

        return int(read_metadata(path).num_rows)
    if path.suffix not in _ROWS:
        return None
    with path.open("rb") as file:
        lines = sum(1 for line in file if line.strip())
    return lines - (path.suffix != ".jsonl")
