"""What the commands read and make: the declarations that turn a list of commands into a graph.

A declaration is a template over the command's own options: `{dataset}` is the value of `--dataset`.
Of `A or B` the first counts whose options are given; a declaration without them falls away. Any other
command can be a step too: its `reads` and `makes` are then said in the pipeline file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foretaste.app.pipeline.resources import Resource, named

_FIELD = re.compile(r"\{([a-z_]+)\}")
_BUNDLED = ("bundled:smollm2-135m-instruct", "bundled:all-minilm-l6-v2")


@dataclass(frozen=True)
class Kind:
    """What one command reads and makes.

    Attributes:
        command: its words.
        room: the last room whose code it runs; code to its right cannot change what comes out.
        reads: what must be there.
        uses: what is read when it is there.
        makes: what is there afterwards.
        state: beginning of the folder below `<home>/runs` that its unfinished work is kept in.
        shows: figures that stand in the report, as patterns; all when empty.
        instead: values of options that are not given, as the command takes them.
    """

    command: str
    room: str = "app"
    reads: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    state: str = ""
    shows: tuple[str, ...] = ()
    instead: Mapping[str, tuple[str, ...]] | None = None


_DATA = ("dataset:{dataset}",)
_TRAINED = ("home:towers/{dataset}", "home:interest/{dataset}")
_MODELS = ("model:{model}", "model:{embedder}", "model:{base}")
_COURSE = ("validation.**", "best_*", "epochs", "steps")
_RANKED = ("users", "cases", "items", "methods.*.r@10", "methods.*.n@10", "methods.*.coverage")
_INTENT = ("users", "categories", "arms.*.*hr@10", "arms.*.fallback_rate.*")
_AGENTS = (*_TRAINED, *_MODELS, "home:entity-adaptors/{dataset}")

KINDS: dict[str, Kind] = {
    kind.command: kind
    for kind in (
        Kind("models fetch", "serving", makes=("model:{names}",), instead={"names": _BUNDLED}),
        Kind("data fetch", "data", makes=("dataset:{name}",)),
        Kind(
            "data import",
            "data",
            reads=("{items}", "{interactions}", "{users}", "{environment}", "{data_dir}"),
            uses=("{mapping}",),
            makes=("dataset:{name} or dataset:{data_dir}",),
        ),
        Kind("data describe", "data", reads=("dataset:{name}",)),
        Kind("data export", "data", reads=("dataset:{name}",), makes=("{out}",)),
        Kind("index", "serving", _DATA, _MODELS, ("home:indexes/{dataset}",)),
        Kind(
            "finetune examples",
            "finetune",
            _DATA,
            _MODELS,
            ("{out} or home:examples/{dataset}",),
            shows=("rows", "counts.**", "rejects.*", "moments"),
        ),
        Kind(
            "finetune sft",
            "finetune",
            ("{rows}", "adapter:{begin}"),
            (),
            ("adapter:{name}",),
            "sft/{name}-",
            _COURSE,
        ),
        Kind(
            "finetune reward",
            "finetune",
            (*_DATA, "{cases}", "{verdicts}", "{groups}"),
            (),
            ("home:rewards/{dataset}",),
            "reward/{dataset}-",
            _COURSE,
        ),
        Kind(
            "finetune grpo",
            "finetune",
            (*_DATA, "adapter:{adapter}", "home:rewards/{dataset}"),
            _TRAINED,
            ("adapter:{out}",),
            "grpo/{dataset}-",
            (*_COURSE, "test.**"),
        ),
        Kind(
            "finetune towers",
            "finetune",
            _DATA,
            _MODELS,
            ("home:towers/{dataset}",),
            "towers/{dataset}-",
            _COURSE,
        ),
        Kind(
            "finetune interest",
            "finetune",
            _DATA,
            _MODELS,
            ("home:interest/{dataset}",),
            "interest/{dataset}-",
            _COURSE,
        ),
        Kind(
            "finetune adaptor",
            "finetune",
            (*_DATA, "{adapter}"),
            _MODELS,
            ("home:entity-adaptors/{name} or home:entity-adaptors/{dataset}",),
            "adaptor/{dataset}-",
            _COURSE,
        ),
        Kind("finetune merge", "finetune", ("adapter:{adapter}",), (), ("{out}",)),
        Kind("finetune export", "finetune", ("adapter:{adapter}", "{figures}"), (), ("{out}",)),
        Kind("evaluate ranking", "judge", _DATA, (*_TRAINED[:1], *_MODELS), shows=_RANKED),
        Kind("evaluate interest", "judge", _DATA, _TRAINED, shows=_RANKED),
        Kind("evaluate intent", "judge", _DATA, (*_AGENTS, "adapter:{adapter}"), shows=_INTENT),
        Kind(
            "recommend",
            "app",
            (*_DATA, "{users}"),
            _AGENTS,
            ("{out}",),
            shows=(
                "*",
                "tokens.total.**",
                "fallbacks.**",
                "timings_ms.total",
                "recommendations.*.score",
            ),
        ),
        Kind(
            "judge run",
            "app",
            ("{source}", "{requests}", "{against}", *_DATA),
            ("{judge}", "{rubric}"),
            ("{out}",),
        ),
        Kind("judge pairwise", "app", ("{source}", "{first}", "{second}", *_DATA), (), ("{out}",)),
        Kind("judge compare", "app", ("{first}", "{second}")),
        Kind("judge report", "app", ("{runs}",), (), ("{out}",)),
        Kind("serve batch", "app", ("{source}",), (), ("{target}",)),
    )
}


def kind_of(command: str) -> Kind:
    """The declaration of a command; an empty one where there is none."""
    return KINDS.get(command, Kind(command))


def expand(templates: tuple[str, ...], kind: Kind, options: Mapping[str, Any]) -> list[Resource]:
    """What the templates name for these options, each once.

    Args:
        templates: `reads`, `uses` or `makes` of `kind`.
        kind: the command's declaration.
        options: values by the names of the command's parameters.

    >>> expand(("dataset:{dataset}",), kind_of("index"), {"dataset": "shop"})
    [Resource(kind='dataset', name='shop')]
    """
    given = {name: _texts(value) for name, value in options.items()}
    for name, value in (kind.instead or {}).items():
        given[name] = given.get(name) or list(value)
    found: list[Resource] = []
    for template in templates:
        for choice in template.split(" or "):
            if texts := _filled(choice, given):
                found += [named(text) for text in texts]
                break
    return list(dict.fromkeys(found))


def set_resources(options: Mapping[str, Any]) -> list[Resource]:
    """Paths and adapters that `--set GROUP.FIELD=VALUE` names."""
    found = []
    for name in ("changes", "setting"):
        for assignment in _texts(options.get(name)):
            field, _, value = assignment.partition("=")
            if field.endswith(".adapter") and value:
                found.append(Resource("adapter", value))
            elif "/" in value:
                found.append(named(value.rpartition("=")[2]))
    return found


def _filled(template: str, given: Mapping[str, list[str]]) -> list[str]:
    """The template once for each value of its one field; itself when it has none."""
    fields = _FIELD.findall(template)
    if not fields:
        return [template]
    return [template.replace(f"{{{fields[0]}}}", value) for value in given.get(fields[0], ())]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
