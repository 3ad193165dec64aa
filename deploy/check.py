"""Hold the deployment files to their schemas and linters: `make deploy-check`.

    python deploy/check.py            # every check whose tool is here
    python deploy/check.py --strict   # a tool that is missing is a fault

One line a check on standard error, one JSON object on standard output; exit code 1 when a check found
something. What no check here can tell (that an image builds, that a cluster takes the manifests) is said
in docs/deploy.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

HERE = Path(__file__).resolve().parent
MANIFESTS = HERE / "kubernetes"
KINDS_OF_MACHINE = ("cpu", "gpu")
# Policies of checkov that are left out, each with its reason.
LEFT_OUT = {
    "CKV_K8S_15": "images built on the spot are not in a registry to be pulled from always",
    "CKV_K8S_35": "the programs read their keys from the environment",
    "CKV_K8S_43": "a digest is known once an image is pushed: kustomize sets it then",
}
Faults = list[str]


def manifests(folder: Path = MANIFESTS) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every object of the manifests with its file, kustomizations left out."""
    for path in sorted(folder.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document and document["kind"] != "Kustomization":
                yield path, document


def kubernetes_schema() -> Faults:
    """What Kubernetes' own schema says of each object; unknown fields are faults."""
    schema = json.loads((HERE / "schemas" / "kubernetes.json").read_text(encoding="utf-8"))
    found = []
    for path, document in manifests():
        kind = schema["kinds"].get(document["kind"])
        if kind is None:
            found.append(f"{path.name}: no schema of a {document['kind']} is here")
            continue
        rules = {"$ref": f"#/definitions/{kind}", "definitions": schema["definitions"]}
        found += _against(rules, document, f"{path.name} {document['kind']}")
    return found


def compose_schema() -> Faults:
    """What the Compose specification's schema says of the compose files."""
    rules = json.loads((HERE / "schemas" / "compose.json").read_text(encoding="utf-8"))
    found: Faults = []
    for path in sorted(HERE.glob("compose*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found += _against(rules, document, path.name)
    return found


def references() -> Faults:
    """Names that one object uses and no other has: kustomize's resources, claims, ports, selectors."""
    found = []
    for kustomization in sorted(MANIFESTS.rglob("kustomization.yaml")):
        listed = yaml.safe_load(kustomization.read_text(encoding="utf-8"))["resources"]
        found += [
            f"{kustomization.parent.name}: {name} is not there"
            for name in listed
            if not (kustomization.parent / name).exists()
        ]
    for machine in KINDS_OF_MACHINE:
        objects = [document for _, document in manifests(MANIFESTS / "base")]
        objects += [document for _, document in manifests(MANIFESTS / machine)]
        found += [f"{machine}: {fault}" for fault in _dangling(objects)]
    return found


def rendered() -> Faults:
    """Kustomize puts both kinds of deployment together, and what it makes fits the schema."""
    schema = json.loads((HERE / "schemas" / "kubernetes.json").read_text(encoding="utf-8"))
    found: Faults = []
    for machine in KINDS_OF_MACHINE:
        done = _run("kubectl", "kustomize", str(MANIFESTS / machine))
        if done.returncode:
            found.append(f"{machine}: {done.stderr.strip()}")
            continue
        for document in yaml.safe_load_all(done.stdout):
            kind = schema["kinds"][document["kind"]]
            rules = {"$ref": f"#/definitions/{kind}", "definitions": schema["definitions"]}
            found += _against(rules, document, f"{machine} {document['kind']}")
    return found


def hadolint() -> Faults:
    """The Dockerfiles' linter."""
    return _said("hadolint", *map(str, sorted(HERE.glob("Dockerfile.*pu"))))


def yamllint() -> Faults:
    """Form of all YAML."""
    return _said("yamllint", "-c", str(HERE / ".yamllint"), "--strict", str(HERE))


def compose_lint() -> Faults:
    """Security of the compose files; what it counts as high or worse is a fault."""
    return _said("compose-lint", *map(str, sorted(HERE.glob("compose*.yaml"))))


def checkov() -> Faults:
    """Policies for Dockerfiles and manifests, without those of `LEFT_OUT`."""
    common = ("checkov", "--quiet", "--compact", "--skip-download", "--skip-check")
    left = ",".join(LEFT_OUT)
    found: Faults = []
    with tempfile.TemporaryDirectory(prefix="foretaste-deploy-") as name:
        for path in [*HERE.glob("Dockerfile.*pu"), *MANIFESTS.rglob("*.yaml")]:
            if path.name != "kustomization.yaml":
                shutil.copy(path, Path(name) / f"{path.parent.name}-{path.name}")
        for dockerfile in Path(name).glob("*Dockerfile*"):
            dockerfile.rename(dockerfile.with_name(f"{dockerfile.suffix[1:]}.Dockerfile"))
        found += _said(*common, left, "--framework", "kubernetes", "dockerfile", "-d", name)
    return found


CHECKS: dict[str, tuple[str | None, Callable[[], Faults]]] = {
    "kubernetes-schema": (None, kubernetes_schema),
    "compose-schema": (None, compose_schema),
    "references": (None, references),
    "kustomize": ("kubectl", rendered),
    "hadolint": ("hadolint", hadolint),
    "yamllint": ("yamllint", yamllint),
    "compose-lint": ("compose-lint", compose_lint),
    "checkov": ("checkov", checkov),
}


def main() -> None:
    """Run the checks and say what each found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--strict", action="store_true", help="a tool that is missing is a fault")
    parser.add_argument("--only", help="names with commas, of " + ", ".join(CHECKS))
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else list(CHECKS)
    if unknown := set(wanted) - set(CHECKS):
        parser.error(f"no such check: {', '.join(sorted(unknown))}")
    results: dict[str, Any] = {}
    for name in wanted:
        tool, look = CHECKS[name]
        if tool and not shutil.which(tool):
            results[name] = f"not checked: {tool} is not here"
        else:
            results[name] = look() or "ok"
        print(f"{name:<18} {results[name]}", file=sys.stderr, flush=True)
    print(json.dumps(results))
    missing = any(isinstance(said, str) and said != "ok" for said in results.values())
    found = any(isinstance(said, list) for said in results.values())
    sys.exit(1 if found or (missing and options.strict) else 0)


def _against(schema: dict[str, Any], document: Any, name: str) -> Faults:
    checker = jsonschema.Draft7Validator(schema)
    return [
        f"{name}: {'.'.join(map(str, fault.path))}: {fault.message[:200]}"
        for fault in checker.iter_errors(document)
    ]


def _dangling(objects: list[dict[str, Any]]) -> Faults:
    """What one deployment's objects name and do not hold; the secret `foretaste` is made by hand."""
    names = {(one["kind"], one["metadata"]["name"]) for one in objects} | {("Secret", "foretaste")}
    pods = {name: pod for one in objects for name, pod in _pods(one)}
    found: Faults = []
    for owner, pod in pods.items():
        used = {("ServiceAccount", pod["spec"]["serviceAccountName"]), *_used(pod["spec"])}
        found += [f"{owner} uses {kind} {name}" for kind, name in sorted(used - names)]
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        for container in _containers(pod["spec"]):
            mounts = {mount["name"] for mount in container.get("volumeMounts", ())}
            found += [f"{owner} mounts {name}" for name in sorted(mounts - volumes)]
    labels = [pod["metadata"]["labels"].items() for pod in pods.values()]
    for one in objects:
        for wanted in _selectors(one):
            if not any(wanted.items() <= have for have in labels):
                found.append(f"{one['kind']} {one['metadata']['name']} selects no pod: {wanted}")
        target = one.get("spec", {}).get("scaleTargetRef")
        if target and (target["kind"], target["name"]) not in names:
            found.append(f"{one['metadata']['name']} scales {target['kind']} {target['name']}")
    return found


def _pods(one: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pod template of an object that has one."""
    spec = one.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    if "template" in spec:
        yield one["metadata"]["name"], spec["template"]


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


def _used(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Claims, maps and secrets that a pod names."""
    for volume in spec.get("volumes", ()):
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in _containers(spec):
        for source in container.get("envFrom", ()):
            yield "ConfigMap", source["configMapRef"]["name"]
        for variable in container.get("env", ()):
            if "valueFrom" in variable:
                yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]


def _selectors(one: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Labels by which services, policies and budgets find their pods."""
    spec = one.get("spec", {})
    if one["kind"] == "Service":
        yield spec["selector"]
    elif one["kind"] == "NetworkPolicy":
        yield spec["podSelector"].get("matchLabels", {})
    elif one["kind"] in ("PodDisruptionBudget", "Deployment"):
        yield spec["selector"]["matchLabels"]


def _said(*command: str) -> Faults:
    """Lines of a tool that ended with a fault; none when it was content."""
    done = _run(*command)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return (lines or [f"exit code {done.returncode}"]) if done.returncode else []


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)


if __name__ == "__main__":
    main()
