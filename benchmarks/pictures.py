"""Draw the results of the benchmarks: one PNG and one HTML page a picture.

    foretaste bench serving --dataset amazon-beauty --json serving.json
    foretaste bench agents --dataset amazon-beauty --json agents.json
    foretaste bench scale --json scale.json
    foretaste evaluate intent --dataset amazon-beauty --adapter … --json intent.json
    python benchmarks/pictures.py --serving serving.json --agents agents.json --scale scale.json --intent intent.json \
      --sft <home>/runs/sft/NAME-… --grpo <home>/runs/grpo/NAME-… --out docs/pictures

PNG needs `kaleido` and a Chromium that it finds (Debian: `apt install chromium`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

Row = dict[str, Any]
# Colours that people with any kind of colour vision can tell apart (Okabe and Ito 2008).
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, "#000000")
WIDTH, HEIGHT = 960, 420


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--serving", type=Path, help="JSON of `foretaste bench serving`")
    parser.add_argument("--agents", type=Path, help="JSON of `foretaste bench agents`")
    parser.add_argument("--scale", help="JSON of `foretaste bench scale`; several with commas")
    parser.add_argument("--intent", type=Path, help="JSON of `foretaste evaluate intent`")
    parser.add_argument("--sft", type=Path, action="append", default=[], help="folder of a run")
    parser.add_argument("--grpo", type=Path, action="append", default=[], help="folder of a run")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    scaled = [_read(Path(name)) for name in options.scale.split(",")] if options.scale else []
    parts = {name: part for figures in scaled for name, part in figures["parts"].items()}
    drawn = [
        *_pictures(_read(options.serving), _read(options.agents), parts),
        *_intent(_read(options.intent), options.sft, options.grpo),
    ]
    for name, picture in drawn:
        picture.update_layout(
            template="plotly_white", width=WIDTH, height=HEIGHT, font={"size": 14}, margin={"t": 70}
        )
        picture.write_image(options.out / f"{name}.png", scale=2)
        picture.write_html(options.out / f"{name}.html", include_plotlyjs="cdn")
        print(options.out / f"{name}.png")


def _pictures(serving: Row, agents: Row, scaled: dict[str, Row]) -> Iterator[tuple[str, go.Figure]]:
    if "users_per_minute" in serving:
        yield "users", users(serving["users_per_minute"])
    if "prefill" in serving:
        yield "prefill", prefill(serving["prefill"])
    if "index" in serving:
        yield "index", index(serving["index"])
    if "modes" in agents:
        yield "modes", modes(agents["modes"])
    if scaled:
        yield "scale", scale(scaled)


def _intent(report: Row, sft: list[Path], grpo: list[Path]) -> Iterator[tuple[str, go.Figure]]:
    if report:
        yield "intent", intent(report)
    if sft:
        yield "sft", training(sft, ("loss_planner", "loss_expert", "loss_arbiter"), "Supervised")
    if grpo:
        yield "grpo", training(grpo, ("accuracy", "diversity", "gate/all", "kl"), "Reinforced")


def intent(report: Row) -> go.Figure:
    """Hit rates of every arm with their intervals: its own list, and its experts' alone."""
    titles = ("the arbiter's list", "the experts alone")
    figure = make_subplots(1, 2, subplot_titles=titles, shared_yaxes=True)
    arms = {name: row for name, row in report["arms"].items() if name != "grounded"}
    for column, kind in ((1, ""), (2, "experts_")):
        for colour, cut in zip((SKY, BLUE, GREEN), (5, 10, 30), strict=True):
            rates = [row.get(f"{kind}hr@{cut}", row[f"hr@{cut}"]) for row in arms.values()]
            bounds = [
                row.get(f"{kind}hr@{cut}_interval", row[f"hr@{cut}_interval"])
                for row in arms.values()
            ]
            figure.add_bar(
                x=[name.removesuffix("_categories") for name in arms],
                y=rates,
                error_y={
                    "type": "data",
                    "array": [high - rate for (_, high), rate in zip(bounds, rates, strict=True)],
                    "arrayminus": [
                        rate - low for (low, _), rate in zip(bounds, rates, strict=True)
                    ],
                },
                name=f"HR@{cut}",
                marker_color=colour,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    title = f"Leaf category chosen next among the first K ({report['users']:,} {report['cases']} people)"
    return figure.update_layout(title=title)


def training(folders: list[Path], names: tuple[str, ...], title: str) -> go.Figure:
    """Of each run the same figures of its validation people, one column a figure; KL of its steps."""
    figure = make_subplots(1, len(names), subplot_titles=names)
    for colour, folder in zip(COLOURS, folders, strict=False):
        rows = json.loads((folder / "curve.json").read_text(encoding="utf-8"))
        label = json.loads((folder / "result.json").read_text(encoding="utf-8"))["adapter"]
        for column, name in enumerate(names, 1):
            measured = [row for row in rows if name in row and (name == "kl" or "kl" not in row)]
            own = sorted((row["step"], row[name]) for row in measured)
            figure.add_scatter(
                x=[step for step, _ in own],
                y=[value for _, value in own],
                name=label,
                line_color=colour,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="step")
    return figure.update_layout(title=title)


def users(figures: Row) -> go.Figure:
    """Users a minute: at once on vLLM, one after another in process."""
    names = ("one after another, transformers in process", "at once, vLLM")
    values = (figures["sequential_transformers"], figures["concurrent"])
    bars = go.Bar(
        y=names,
        x=values,
        orientation="h",
        marker_color=[ORANGE, BLUE],
        text=[f"{value:.1f}" for value in values],
        textposition="outside",
    )
    return go.Figure(bars).update_layout(
        title=f"Users a minute through the whole graph ({figures['ratio']:.1f} times)",
        xaxis_title="users a minute",
    )


def prefill(rows: list[Row]) -> go.Figure:
    """Tokens and seconds of reading a prompt by length of the history, in both forms."""
    figure = make_subplots(1, 2, subplot_titles=("tokens of the prompt", "seconds to read it"))
    events = [row["history"] for row in rows]
    for column, unit in ((1, "tokens"), (2, "s")):
        for form, colour in (("text", ORANGE), ("hybrid", BLUE)):
            figure.add_scatter(
                x=events,
                y=[row[f"{form}_{unit}"] for row in rows],
                name=form,
                line_color=colour,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="events of the history")
    return figure.update_yaxes(rangemode="tozero").update_layout(
        title="Items as text, and as one vector each"
    )


def index(rows: list[Row]) -> go.Figure:
    """Tail latency and memory of each kind of index by the size of the catalogue."""
    figure = make_subplots(1, 2, subplot_titles=("p99 of one search, ms", "memory, MB"))
    for colour, kind in zip(COLOURS, dict.fromkeys(row["kind"] for row in rows), strict=False):
        own = [row for row in rows if row["kind"] == kind]
        for column, key in ((1, "p99_ms"), (2, "memory_mb")):
            figure.add_scatter(
                x=[row["items"] for row in own],
                y=[row[key] for row in own],
                name=kind,
                line_color=colour,
                showlegend=column == 1,
                row=1,
                col=column,
                text=[f"recall@100 {row['recall@100']:.4f}" for row in own],
            )
    figure.update_xaxes(type="log", title_text="items")
    return figure.update_yaxes(type="log").update_layout(title="The item index")


def modes(figures: dict[str, Row]) -> go.Figure:
    """Tokens of a user in each mode, and what they bring."""
    titles = ("tokens a user, cache off", "tokens a user, cache on", "duplicates among candidates")
    figure = make_subplots(1, 3, subplot_titles=titles)
    names = list(figures)
    for column, key in ((1, "tokens_per_user"), (2, "tokens_per_user_cached")):
        for colour, kind in zip(
            (ORANGE, BLUE, GREEN), ("sent", "computed", "written"), strict=True
        ):
            figure.add_bar(
                x=names,
                y=[figures[name][key][kind] for name in names],
                name=kind,
                marker_color=colour,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    rates = [figures[name]["duplicate_rate"] for name in names]
    figure.add_bar(
        x=names,
        y=rates,
        marker_color=PURPLE,
        showlegend=False,
        text=[f"{rate:.1%}" for rate in rates],
        row=1,
        col=3,
    )
    return figure.update_layout(title="Three ways to divide the work between agents")


def scale(parts: dict[str, Row]) -> go.Figure:
    """Processor seconds and peak memory of each command by how many times over the data was taken."""
    figure = make_subplots(1, 2, subplot_titles=("processor seconds", "peak memory, MB"))
    for colour, (name, part) in zip(COLOURS, parts.items(), strict=False):
        sizes = [point["size"] for point in part["points"]]
        exponent = part.get("last_exponent", "–")
        for column, key in ((1, "processor_s"), (2, "peak_mb")):
            figure.add_scatter(
                x=sizes,
                y=[point[key] for point in part["points"]],
                name=f"{name} (last exponent {exponent})",
                mode="lines+markers",
                line_color=colour,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    figure.update_xaxes(type="log", tickvals=[1, 4, 16], title_text="times the data")
    return figure.update_yaxes(type="log").update_layout(
        title="What more data costs", legend={"orientation": "h", "y": -0.25}
    )


def _read(path: Path | None) -> Row:
    if path is None:
        return {}
    read: Row = json.loads(path.read_text(encoding="utf-8"))
    return read


if __name__ == "__main__":
    main()
