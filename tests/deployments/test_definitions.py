"""The deployments as data: they fit their flows, their schedules fit the clock, and prefect.yaml says the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import jsonschema
import prefect
import pytest
from prefect.utilities.templating import apply_values, find_placeholders
from ruamel.yaml import YAML

from deployments import project_file
from deployments.clock import require_every_night_once
from deployments.definitions import DEPLOYMENTS, ENVIRONMENT, NIGHTLY, Deployment, Schedule
from deployments.steps import change_to_code
from recsys.config import RunConfig, load

ROOT = Path(__file__).resolve().parents[2]
WORKERS = (
    Path(prefect.__file__).parent / "server" / "api" / "collections_data" / "views" / "aggregate-worker-metadata.json"
)
CONFIGS = {
    "defaults": RunConfig(),
    "the example": load(ROOT / "examples" / "night.toml"),
    "own ratings": load(options={"ratings": "s3://bucket/ratings", "store": "/srv/recsys", "engine": "dask"}),
}
each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment.name)


def job_template(kind: str) -> dict[str, Any]:
    if kind == "kubernetes":
        return json.loads((ROOT / "deployments" / "kubernetes" / "base-job-template.json").read_text())
    known = json.loads(WORKERS.read_text())
    workers = {worker["type"]: worker for collection in known.values() for worker in collection.values()}
    return workers[kind]["default_base_job_configuration"]


def asked(deployment: Deployment) -> dict[str, str]:
    """What whoever starts a run gives."""
    given = {"first": "2026-11-01", "last": "2026-11-03", "run_id": "0123", "by": "ops"}
    return {name: given[name] for name in deployment.asks}


@each_deployment
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_parameters_fit_the_flow(deployment: Deployment, config: RunConfig) -> None:
    parameters = deployment.parameters_from(config) | asked(deployment)
    deployment.flow.validate_parameters(parameters)
    assert json.loads(json.dumps(parameters)) == parameters
    jsonschema.validate(parameters, deployment.flow.parameters.model_dump_for_openapi())


def test_a_parameter_that_does_not_fit_is_noticed() -> None:
    with pytest.raises(Exception, match="top_n"):
        NIGHTLY.flow.validate_parameters(NIGHTLY.parameters_from(RunConfig()) | {"score": {"top_n": 0}})


@each_deployment
def test_the_form_describes_every_field(deployment: Deployment) -> None:
    schema = deployment.flow.parameters.model_dump_for_openapi()
    sections = [("flow", schema), *schema["definitions"].items()]
    blank = [
        f"{section}.{name}"
        for section, described in sections
        for name, field in described["properties"].items()
        if not (field.get("description") or schema["definitions"][field["$ref"].rpartition("/")[2]]["description"])
    ]
    assert blank == []


@each_deployment
def test_only_what_is_asked_for_has_no_value(deployment: Deployment) -> None:
    required = set(deployment.flow.parameters.required)
    assert required - set(deployment.parameters_from(RunConfig())) == set(deployment.asks)


def test_the_form_has_bounds() -> None:
    described = NIGHTLY.flow.parameters.definitions["ScoreConfig"]["properties"]["top_n"]
    assert (described["minimum"], described["maximum"]) == (1, 1000)


@each_deployment
def test_its_name_and_flow_are_as_people_type_them(deployment: Deployment) -> None:
    assert deployment.full_name == f"{deployment.name}/{deployment.name}"
    assert deployment.description.endswith(".")
    assert deployment.limit == 1


@pytest.mark.parametrize("schedule", [each.schedule for each in DEPLOYMENTS if each.schedule], ids=str)
def test_schedules_avoid_clock_changes_in_any_zone(schedule: Schedule) -> None:
    assert schedule.timezone == "UTC"
    for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana"):
        require_every_night_once(Schedule(schedule.cron, zone), datetime(2026, 11, 21, tzinfo=UTC))
    assert len(available_timezones()) > 400


def test_prefect_yaml_says_the_same() -> None:
    written = project_file.FILE.read_text(encoding="utf-8")
    assert written == project_file.text(), "python -m deployments.project_file writes it anew"
    read = YAML(typ="safe").load(written)
    assert [row["name"] for row in read["deployments"]] == [deployment.name for deployment in DEPLOYMENTS]
    assert str(ROOT) not in written
    for row, deployment in zip(read["deployments"], DEPLOYMENTS, strict=True):
        deployment.flow.validate_parameters(row["parameters"] | asked(deployment))


@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes"])
def test_job_variables_fit_the_pool(kind: str) -> None:
    template = job_template(kind)
    for row in project_file.project()["deployments"]:
        variables = json.loads(json.dumps(row["work_pool"]["job_variables"]))
        jsonschema.validate(variables, template["variables"])
        filled = apply_values(template["job_configuration"], variables, remove_notset=False)
        assert filled["env"] == ENVIRONMENT


def test_the_kubernetes_template_is_whole() -> None:
    template, usual = job_template("kubernetes"), None
    known = json.loads(WORKERS.read_text())
    for collection in known.values():
        for worker in collection.values():
            usual = worker["default_base_job_configuration"] if worker["type"] == "kubernetes" else usual
    assert usual is not None
    properties = template["variables"]["properties"]
    used = {found.name for found in find_placeholders(template["job_configuration"])}
    assert used == set(properties)  # no placeholder without its field in the form, no field without effect
    assert set(template["job_configuration"]) == set(usual["job_configuration"]) - {"cluster_config"}
    assert all(field["description"] and field["title"] for field in properties.values())
    jsonschema.Draft202012Validator.check_schema(template["variables"])

    spec = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert set(container["resources"]) == {"requests", "limits"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert "/store" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_dockerfile_and_the_template_mean_the_same_user() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    spec = job_template("kubernetes")["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert f"ARG UID={spec['securityContext']['runAsUser']}\n" in dockerfile
    assert "USER ${UID}" in dockerfile


def test_a_run_goes_to_where_its_code_is(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert change_to_code() == {"directory": str(ROOT)}
    assert Path.cwd() == ROOT
