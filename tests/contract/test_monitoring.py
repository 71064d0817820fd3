"""deploy/monitoring asks for metrics, labels, states and routes that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import click
import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from farm.cli import cli
from farm.settings import Settings, load
from farm.store.engine import Store
from farm.web.app import create_app
from farm.web.database import Database
from tests.contract.deployment import DEPLOY, KUBERNETES, pods


@pytest.fixture
def served(home) -> Iterator[TestClient]:
    """The live page of a farm that has a job, a worker and a measurement."""
    from farm.cli import run

    settings = load()
    settings.prepare_home()
    spec = home.parent / "spec.yaml"
    spec.write_text("models: [sd2]\ngpus: [a100]\nresolutions: [256]\nsteps: [10]\nprompts: [25]\n")
    assert run(["sweep", "submit", str(spec)]) == 0
    store = Store.open(settings)
    register(store, settings)
    store.close()
    with TestClient(create_app(Database(settings), settings), base_url="http://127.0.0.1") as client:
        yield client


def register(store: Store, settings: Settings) -> None:
    from farm.domain.worker import WorkerInfo
    from farm.jobs import WorkerJobs

    words = dict.fromkeys(("name", "gpu", "queue", "device_name", "device_uuid", "host", "code_version"), "a100")
    jobs = WorkerJobs(store, settings)
    jobs.register(WorkerInfo(**words, pid=1))
    assert jobs.report("a100", state="idle", job_id=None, spool_waiting=0, power_watts=61.5, temperature_celsius=41.0)


def test_the_dashboard_asks_for_metrics_and_labels_that_are_exported(served):
    exported = {
        family.name: {label for sample in family.samples for label in sample.labels}
        for family in text_string_to_metric_families(served.get("/metrics").text)
    }
    dashboard = json.loads((DEPLOY / "monitoring" / "grafana.json").read_text())
    queries = [(p["title"], t["expr"], t["legendFormat"]) for p in dashboard["panels"] for t in p["targets"]]
    asked = set()
    for title, query, legend in queries:
        metrics = re.findall(r"joulefarm_\w+", query)
        assert metrics, title
        labels = set().union(*(exported[metric] for metric in metrics))
        used = (
            re.findall(r"(\w+)=~?\"", query) + re.findall(r"by \(([^)]*)\)", query) + re.findall(r"{{(\w+)}}", legend)
        )
        assert set(used) <= labels, title
        asked |= set(metrics)
    assert asked == set(exported), "every metric has its panel"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(queries)


def test_the_dashboard_asks_for_states_that_jobs_have():
    from farm.domain import JobState

    text = (DEPLOY / "monitoring" / "grafana.json").read_text()
    states = {state for group in re.findall(r'state=~?\\"([^"\\]+)', text) for state in group.split("|")}
    assert states
    assert states <= {state.value for state in JobState}


def test_prometheus_scrapes_where_the_page_listens(served):
    (job,) = yaml.safe_load((DEPLOY / "monitoring" / "prometheus.yaml").read_text())["scrape_configs"]
    assert served.get(job["metrics_path"]).status_code == 200
    defaults = {p.name: p.default for p in cli.get_command(click.Context(cli, **cli.context_settings), "serve").params}
    assert job["static_configs"] == [{"targets": [f"localhost:{defaults['port']}"]}]


def test_the_probe_over_http_asks_a_page_that_there_is(served):
    (container,) = pods()["Deployment/serve"]["containers"]
    assert served.get(container["readinessProbe"]["httpGet"]["path"]).status_code == 200
    port = container["args"][container["args"].index("--port") + 1]
    assert [str(p["containerPort"]) for p in container["ports"]] == [port]
    assert f"svc/serve {port}" in (KUBERNETES / "README.md").read_text()
