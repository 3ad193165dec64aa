"""Deployment files: their schemas, what they refer to, and that the checks themselves can fail."""

from __future__ import annotations

import copy
import http.server
import json
import re
import runpy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
CHECK = runpy.run_path(str(ROOT / "deploy" / "check.py"))
HEALTH = runpy.run_path(str(ROOT / "deploy" / "healthcheck.py"))
OBJECTS: list[dict[str, Any]] = [one for _, one in CHECK["manifests"]()]
KINDS = json.loads((ROOT / "deploy" / "schemas" / "kubernetes.json").read_text())


def _containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in OBJECTS:
        for name, pod in CHECK["_pods"](one):
            for container in CHECK["_containers"](pod["spec"]):
                yield f"{name}/{container['name']}", container


def _of(kind: str, name: str) -> dict[str, Any]:
    return next(o for o in OBJECTS if (o["kind"], o["metadata"]["name"]) == (kind, name))


@pytest.mark.parametrize("check", ["kubernetes_schema", "compose_schema", "references"])
def test_the_files_fit_their_schemas_and_each_other(check: str) -> None:
    assert CHECK[check]() == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d["spec"].update(replica=3),
        lambda d: d["spec"]["template"]["spec"]["containers"][0]["ports"][0].update(
            containerPort="http"
        ),
        lambda d: d["spec"].pop("selector"),
        lambda d: d["spec"]["template"]["spec"]["containers"][0]["livenessProbe"].update(every=5),
    ],
)
def test_the_schema_notices_what_kubernetes_would(spoil: Callable[[Any], object]) -> None:
    api = copy.deepcopy(_of("Deployment", "api"))
    spoil(api)
    rules = {"$ref": f"#/definitions/{KINDS['kinds']['Deployment']}", **KINDS}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(rules).validate(api)


def test_dangling_names_are_noticed() -> None:
    objects = copy.deepcopy([o for o in OBJECTS if o["kind"] != "ConfigMap"])
    objects.append(
        {"kind": "Service", "metadata": {"name": "lost"}, "spec": {"selector": {"a": "b"}}}
    )
    said = "\n".join(CHECK["_dangling"](objects))
    assert "api uses ConfigMap foretaste" in said
    assert "Service lost selects no pod" in said


def test_every_container_is_bounded_and_has_no_rights() -> None:
    for name, container in _containers():
        for bound in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][bound]), name
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True, name
        assert rights["allowPrivilegeEscalation"] is False, name
        assert rights["capabilities"] == {"drop": ["ALL"]}, name


def test_what_serves_is_probed_and_survives_a_drained_machine() -> None:
    served = {o["metadata"]["name"] for o in OBJECTS if o["kind"] == "Deployment"}
    assert served == {"api", "engine"}
    for name, container in _containers():
        if name in ("api/api", "engine/engine"):
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), name
    for kind in ("PodDisruptionBudget", "HorizontalPodAutoscaler", "Service", "NetworkPolicy"):
        assert served <= {o["metadata"]["name"] for o in OBJECTS if o["kind"] == kind}, kind
    for one in OBJECTS:
        if one["kind"] == "HorizontalPodAutoscaler":  # a budget of one pod must leave one to move
            assert one["spec"]["minReplicas"] >= 2


def test_no_secret_stands_in_a_file() -> None:
    assert not [one for one in OBJECTS if one["kind"] == "Secret"]
    for name, container in _containers():
        for variable in container.get("env", ()):
            if re.search("KEY|CHECKPOINTS|STATE|PASSWORD", variable["name"]):
                assert "value" not in variable, name
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search("KEY|PASSWORD|CHECKPOINTS|STATE", key):
                assert "${" in value, name


def test_the_commands_in_the_files_are_ours() -> None:
    """Each command and option that a container is started with is known to the command line."""
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    calls = [c["args"] for _, c in _containers() if "args" in c]
    calls += [s["command"] for s in compose["services"].values() if "foretaste" in s["image"]]
    top: Any = typer.main.get_command(cli)
    for call in calls:
        command, words = top, list(call)
        while hasattr(command, "commands") and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert command is not top, call
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, call


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_images_are_small_unprivileged_and_watched(kind: str) -> None:
    text = (ROOT / "deploy" / f"Dockerfile.{kind}").read_text()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert f"requirements/{kind}.lock" in text
    for room in ("data", "serving", "agents", "judge", "finetune", "app"):
        assert f"COPY {room} {room}\n" in text
        assert f"!{room}\n" in (ROOT / "deploy" / f"Dockerfile.{kind}.dockerignore").read_text()


@pytest.mark.parametrize(
    ("path", "well"), [("/healthz", True), ("/health", True), ("/other", False)]
)
def test_the_health_check_knows_the_api_and_the_engine(path: str, well: bool) -> None:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == path else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert HEALTH["healthy"](str(server.server_port)) is well
    finally:
        server.shutdown()
        server.server_close()


def test_nothing_listens_is_not_healthy() -> None:
    assert HEALTH["healthy"]("1") is False


def test_an_engine_that_others_reach_needs_a_key(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    call = ["serve", "--engine-only", "--host", "10.0.0.5"]
    with pytest.raises(InputError, match="set VLLM_API_KEY, or say --without-keys"):
        CliRunner().invoke(cli, call, catch_exceptions=False)
