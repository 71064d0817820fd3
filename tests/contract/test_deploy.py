"""deploy/ names what there is: commands with their options, settings, GPU types, secrets, metrics, routes, extras."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, make_url, text

from farm import catalog
from farm.broker import acl
from farm.cli import cli
from farm.settings import Settings, load
from farm.store.engine import Store
from farm.web.app import create_app
from farm.web.database import Database
from tests.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPOSE = DEPLOY / "compose"
GPUS = sorted(p.name for p in (KUBERNETES / "gpus").iterdir())
ALSO = {"FARM_COMMIT"}  # read where a wheel was built of a commit; no setting


def merged(base: Any, patch: Any) -> Any:
    """A strategic merge of Kubernetes: mappings by key, lists of named things by name, what is else replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return base | {key: merged(base.get(key), value) for key, value in patch.items()}
    if isinstance(base, list) and all(isinstance(item, dict) and "name" in item for item in [*base, *patch]):
        named = {item["name"]: item for item in base}
        return list((named | {item["name"]: merged(named.get(item["name"]), item) for item in patch}).values())
    return patch


def documents(folder: Path) -> Iterator[dict[str, Any]]:
    """What a kustomization lists, all the way down, its patches applied."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    patches = [yaml.safe_load((folder / patch["path"]).read_text()) for patch in kustomization.get("patches", ())]
    for name in kustomization["resources"]:
        path = folder / name
        found = documents(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
        for document in found:
            for patch in patches:
                document = merged(document, patch)
            document["metadata"]["name"] += kustomization.get("nameSuffix", "")
            yield document


def pods() -> dict[str, dict[str, Any]]:
    """The pod's specification of everything that runs, by ``Kind/name``."""
    return {
        f"{document['kind']}/{document['metadata']['name']}": document["spec"]["template"]["spec"]
        for document in documents(KUBERNETES)
        if "template" in document.get("spec", {})
    }


def containers() -> list[Any]:
    return [
        pytest.param(container, id=f"{name}/{container['name']}")
        for name, pod in pods().items()
        for container in [*pod.get("initContainers", ()), *pod["containers"]]
    ]


def check_command(words: list[str]) -> None:
    """Those words are a command of `farm` with options and arguments that it takes."""
    context = click.Context(cli, info_name="farm", **cli.context_settings)
    command: click.Command = cli
    while isinstance(command, click.Group):
        if not words:
            raise click.UsageError("a command is missing", context)
        name, _, words = command.resolve_command(context, words)
        command = context.command.get_command(context, str(name))
        context = click.Context(command, info_name=name, parent=context, **cli.context_settings)
    command.parse_args(context, list(words))


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def secret_files(variables: dict[str, str]) -> list[Path]:
    """The files of secrets and certificates that settings name."""
    return [Path(value) for name, value in variables.items() if name.endswith(("_FILE", "_CA"))]


def settings_of(file: Path) -> dict[str, str]:
    """An environment file of systemd."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_every_type_of_the_cluster_is_listed():
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert {f"gpus/{gpu}" for gpu in GPUS} < set(listed)
    expected = {"Job/migration", "Deployment/coordinator", "Deployment/serve"}
    assert set(pods()) == expected | {f"StatefulSet/worker-{gpu}" for gpu in GPUS}


@pytest.mark.parametrize("container", containers())
def test_a_container_runs_a_command_that_there_is(container):
    known = environment(container)
    words = [re.sub(r"\$\((\w+)\)", lambda m: known[m.group(1)], word) for word in container["args"]]
    check_command(words)
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        if "exec" in container.get(kind, {}):
            farm, *words = container[kind]["exec"]["command"]
            assert farm == "farm"
            check_command(words)


def test_the_check_of_commands_can_fail():
    for line in ("no-such", "worker --gpu a100 --boards 0", "db", "serve --port many", "db upgrade twice"):
        with pytest.raises(click.UsageError):
            check_command(line.split())


@pytest.mark.parametrize("container", containers())
def test_a_container_finds_its_files(container):
    """What a variable names lies on a mount; the home is below one, since a mount's own mode cannot be changed."""
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    files = secret_files(environment(container))
    assert files
    assert all(file.parent == Path(mounts["secrets"]) for file in files)
    assert Path(environment(container)["FARM_HOME"]).parent == Path(mounts["home"])
    assert container["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("name", pods())
def test_secrets_are_given_by_name_and_the_readme_makes_them(name):
    pod = pods()[name]
    secrets = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    made = (KUBERNETES / "README.md").read_text()
    kinds = {"Job/migration": "coordinator", "Deployment/coordinator": "coordinator", "Deployment/serve": "page"}
    assert secrets == [kinds.get(name, name.partition("/")[2])]
    kind, _, gpu = secrets[0].partition("-")
    command = re.sub(r"\\\n", "", made).partition(f"secret generic {kind} " if not gpu else f'"{kind}-$gpu" ')[2]
    assert not gpu or f" {gpu}" in made
    given = dict(re.findall(r"--from-file=([^\s=]+)=?(\S*)", command.partition("\n")[0]))
    words = " ".join(word for container in pod["containers"] for word in container["args"])
    keys = {file.name for container in pod["containers"] for file in secret_files(environment(container))}
    keys |= {Path(word).name for word in re.findall(r"/etc/joulefarm/\S+", words)}
    assert keys <= set(given)
    assert "ca.pem" in given  # where every database's URL has it
    roles = {"coordinator": "farm", "page": "farm_reader", "worker": "farm_worker"}
    assert [file for key, file in given.items() if key.startswith("database-")] == [f"database-{roles[kind]}"]


@pytest.mark.parametrize("gpu", GPUS)
def test_a_type_of_the_cluster_is_one_of_the_catalog(gpu):
    pod = pods()[f"StatefulSet/worker-{gpu}"]
    (container,) = pod["containers"]
    assert environment(container)["GPU"] == gpu
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    selector = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    products = [value for term in selector for match in term["matchExpressions"] for value in match["values"]]
    for product in products:  # gpu-feature-discovery puts hyphens for the blanks of NVML's name
        assert product in {name.replace(" ", "-") for name in catalog.gpu(gpu).nvml_names}


def test_the_probe_over_http_asks_a_page_that_there_is(served):
    (container,) = pods()["Deployment/serve"]["containers"]
    assert served.get(container["readinessProbe"]["httpGet"]["path"]).status_code == 200
    port = container["args"][container["args"].index("--port") + 1]
    assert [str(p["containerPort"]) for p in container["ports"]] == [port]
    assert f"svc/serve {port}" in (KUBERNETES / "README.md").read_text()


def test_the_images_bring_extras_that_there_are():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    dockerfile = (KUBERNETES / "Dockerfile").read_text()
    asked = re.findall(r"EXTRAS=(\S+) -t \S+/(\S+):", dockerfile)
    assert {name for names, _ in asked for name in names.split(",")} <= set(extras)
    images = {image["name"] for image in yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["images"]}
    used = {param.values[0]["image"] for param in containers()}
    assert used == images == {image for _, image in asked}
    copied = [name for line in re.findall(r"^COPY (.+) /src", dockerfile, re.M) for name in line.split()]
    assert all((ROOT / name).exists() for name in copied)


def test_every_setting_in_deploy_is_one():
    known = {f"FARM_{name.upper()}" for name in Settings.model_fields} | ALSO
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in DEPLOY.rglob("*")
        if path.is_file()
        for name in re.findall(r"\bFARM_[A-Z_]+\b", path.read_text())
    }
    assert len(found) > 10
    assert {pair for pair in found if pair[1] not in known} == set()


@pytest.fixture
def said(tmp_path) -> Callable[..., list[str]]:
    """Runs a command line in which `farm` only says its words, and gives them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in (("farm", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"), ("pip", "#!/bin/sh\n")):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)

    def call(*argv: str, **variables: str) -> list[str]:
        words = [word.replace("/opt/joulefarm/bin", str(folder)) for word in argv]
        path = {"PATH": f"{folder}:/usr/bin:/bin"}
        done = subprocess.run(words, env=path | variables, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.splitlines()

    return call


def test_the_units_of_systemd(said):
    for name, instance, expected in (
        ("farm-coordinator.service", "", ["coordinator"]),
        ("farm-worker@.service", "a100-3", ["worker", "--gpu", "a100", "--device", "3"]),
        ("farm-worker@.service", "rtx6000-ada-0", ["worker", "--gpu", "rtx6000-ada", "--device", "0"]),
    ):
        (start,) = re.findall(r"^ExecStart=(.+)$", (DEPLOY / "systemd" / name).read_text(), re.M)
        words = said(*shlex.split(start.replace("%i", instance).replace("$$", "$")))
        assert words == expected
        check_command(words)


def test_workers_of_two_types_on_one_host_come_as_two_users():
    text = (DEPLOY / "systemd" / "farm-worker@.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.+)$", text, re.M)
    shell = shlex.split(start.replace("%i", "rtx6000-ada-0").replace("$$", "$"))[-1].partition("exec")[0]
    shown = subprocess.run(
        ["sh", "-c", f'{shell} echo "$FARM_BROKER_URL_FILE"'], capture_output=True, text=True, timeout=20, check=True
    )
    assert shown.stdout == "/etc/joulefarm/worker-rtx6000-ada\n"
    for unit in ("farm-coordinator.service", "farm-worker@.service"):
        (file,) = re.findall(r"^EnvironmentFile=/etc/joulefarm/(.+)$", (DEPLOY / "systemd" / unit).read_text(), re.M)
        assert (DEPLOY / "systemd" / file).is_file()


def test_the_walk_through_a_lab_asks_for_commands_and_settings_that_there_are():
    text = (ROOT / "docs" / "lab.md").read_text()
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S))
    lines = [line for line in blocks.splitlines() if line.startswith("farm ")]
    lines += re.findall(r"`(farm (?!up )[^`]+)`", text)
    assert len(lines) > 12
    for line in lines:
        check_command(shlex.split(line)[1:])
    known = {f"FARM_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bFARM_[A-Z_]+\b", text)) <= known
    of_servers = {"postgresql.conf", "pg_hba.conf", "redis.conf"}
    # systemd-tmpfiles is given the name under which the file is installed.
    installed = {"joulefarm.conf"}
    for name in set(re.findall(r"[\w@.-]+\.(?:service|env|conf)\b", text)) - of_servers - installed:
        assert (DEPLOY / "systemd" / name).is_file(), name


def test_the_cluster_has_the_settings_and_grants_of_the_other_hosts():
    """Coordinator, page and workers read what their units read, from the same paths; all three roles are granted."""
    for name, file in (("Deployment/coordinator", "coordinator.env"), ("Deployment/serve", "page.env")):
        (container,) = pods()[name]["containers"]
        ours, theirs = environment(container), settings_of(DEPLOY / "systemd" / file)
        assert {**ours, "FARM_HOME": ""} == {**theirs, "FARM_HOME": ""}
    (worker,) = pods()["StatefulSet/worker-a100"]["containers"]
    theirs = settings_of(DEPLOY / "systemd" / "worker.env")
    assert {**theirs, "FARM_HOME": ""}.items() <= {**environment(worker), "FARM_HOME": ""}.items()
    migration = pods()["Job/migration"]
    steps = [c["args"] for kind in ("initContainers", "containers") for c in migration[kind]]
    assert steps == [["db", "upgrade"], ["db", "grant-worker", "farm_worker"], ["db", "grant-reader", "farm_reader"]]


def test_the_script_of_slurm(said, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    script = DEPLOY / "slurm" / "worker.sbatch"
    files = ["database-worker", "worker-h100", "ca.pem"]
    for missing in files:
        with pytest.raises(subprocess.CalledProcessError) as refused:
            said("bash", str(script), GPU="h100", SECRETS=str(secrets), HOME=str(tmp_path))
        assert refused.value.returncode == 2
        assert refused.value.stderr == f"worker.sbatch: {secrets / missing}: a file that can be read\n"
        (secrets / missing).touch()
    words = said("bash", str(script), GPU="h100", SECRETS=str(secrets), HOME=str(tmp_path))
    assert words == ["worker", "--gpu", "h100", "--device", "0"]
    check_command(words)
    lines = "\n".join(line for line in script.read_text().splitlines() if line.startswith(("secrets=", "export FARM_")))
    shown = subprocess.run(
        ["bash", "-c", f"{lines}\nenv"], env={"GPU": "h100", "HOME": "/h"}, capture_output=True, text=True, check=True
    )
    found = dict(line.split("=", 1) for line in shown.stdout.splitlines() if line.startswith("FARM_"))
    units = settings_of(DEPLOY / "systemd" / "worker.env")
    assert set(found) == {*units, "FARM_BROKER_URL_FILE"}
    assert {Path(found[name]).name for name in found if name != "FARM_HOME"} == set(files)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((COMPOSE / "compose.yaml").read_text()))


def targets(service: dict[str, Any]) -> dict[str, str]:
    """Where a service finds its secrets -> which they are."""
    listed = [
        {"source": secret, "target": f"/run/secrets/{secret}"} if isinstance(secret, str) else secret
        for secret in service.get("secrets", ())
    ]
    return {secret["target"]: secret["source"] for secret in listed}


def test_the_services_of_compose_run_commands_that_there_are(compose):
    services = compose["services"]
    check_command(services["coordinator"]["command"])
    check_command(services["page"]["command"])
    (script,) = services["upgrade"]["command"]
    steps = [shlex.split(step) for step in script.split(";")]
    assert [words[2:] for words in steps] == [
        ["upgrade"],
        ["grant-worker", "farm_worker"],
        ["grant-reader", "farm_reader"],
    ]
    for farm, *words in [*steps, services["coordinator"]["healthcheck"]["test"][1:]]:
        assert farm == "farm"
        check_command(words)
    assert services["coordinator"]["depends_on"]["upgrade"]["condition"] == "service_completed_successfully"
    build = services["page"]["build"]
    assert (COMPOSE / build["context"] / build["dockerfile"]).is_file()


def test_the_services_of_compose_find_their_files(compose):
    """With the settings of the units, each service its own secrets and no more."""
    used = set()
    for name, service in compose["services"].items():
        found = targets(service)
        used |= set(found.values())
        if "env_file" in service:
            named = secret_files(settings_of(COMPOSE / service["env_file"]))
            assert {str(file) for file in named} <= set(found), name
            assert "/etc/joulefarm/ca.pem" in found
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (COMPOSE / source).exists() if source.startswith(".") else source in compose["volumes"]
        for condition in service.get("depends_on", ()):
            assert condition in compose["services"]
    assert used == set(compose["secrets"])
    owners = {"database-farm", "coordinator", "password-farm"}
    assert owners.isdisjoint(targets(compose["services"]["page"]).values())
    words = compose["services"]["page"]["command"]
    assert words[words.index("--token-file") + 1] in targets(compose["services"]["page"])
    assert compose["services"]["page"]["ports"] == ["127.0.0.1:8600:8600"]


def test_compose_speaks_tls_alone(compose):
    broker = " ".join(compose["services"]["broker"]["command"])
    named = set(re.findall(r"/run/secrets/\S+", broker))
    assert named == set(targets(compose["services"]["broker"]))
    assert "--port 0 --tls-port 6379" in broker
    access = [line.split() for line in (COMPOSE / "pg_hba.conf").read_text().splitlines() if line[0] != "#"]
    assert [words[0] for words in access] == ["local", "hostssl"]
    (lab,) = re.findall(r"^hostssl .+$", (ROOT / "docs" / "lab.md").read_text(), re.M)
    assert access[1][:3] == lab.split()[:3]
    assert "-c ssl=on" in (COMPOSE / "database.sh").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """What the README of compose makes beside what is brought, by its own lines."""
    folder = tmp_path_factory.mktemp("compose")
    (folder / "secrets").mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem", "receivers"):
        (folder / "secrets" / name).touch(mode=0o600)
    (script,) = re.findall(r"^```sh\n(.*?)^```", (COMPOSE / "README.md").read_text(), re.M | re.S)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder), "FARM_HOME": str(folder / "home")}
    lines = f'chown() {{ shift; ls -d "$@"; }}\n{script}'  # who runs tests need not be root
    subprocess.run(["sh", "-euc", lines], cwd=folder, env=environment, capture_output=True, timeout=60, check=True)
    return folder


def test_the_readme_of_compose_makes_every_secret(compose, made):
    for secret in compose["secrets"].values():
        path = made / secret["file"]
        assert path.is_file()
        assert path.stat().st_mode & 0o077 == 0
    urls = {path.name: path.read_text().strip() for path in (made / "secrets").glob("database-*")}
    assert set(urls) == {"database-farm", "database-farm_worker", "database-farm_reader"}
    for name, url in urls.items():
        role = name.partition("-")[2]
        password = (made / "secrets" / f"password-{role}").read_text().strip()
        assert url == (
            f"postgresql://{role}:{password}@db.lab.example/farm?sslmode=verify-full&sslrootcert=/etc/joulefarm/ca.pem"
        )
    assert (made / "secrets" / "broker" / "urls" / "coordinator").read_text().startswith("rediss://coordinator:")


def test_compose_makes_the_roles_of_the_lab(made):
    """The script that the database's container runs once, on a real PostgreSQL."""
    server = EmbeddedPostgres()
    try:
        url = make_url(server.start())
        place = {"PGHOST": str(url.host), "PGPORT": str(url.port)}
        path = f"{server.programs}:/usr/bin:/bin"
        subprocess.run(
            ["sh", str(COMPOSE / "roles.sh")],
            env={"PATH": path, "PASSWORDS": str(made / "secrets"), **place},
            capture_output=True,
            timeout=60,
            check=True,
        )
        engine = create_engine(url)
        with engine.connect() as connection:
            roles = connection.execute(
                text("SELECT rolname, rolsuper, rolcanlogin FROM pg_roles WHERE rolname LIKE 'farm%'")
            )
            assert {tuple(row) for row in roles} == {
                (role, False, True) for role in ("farm", "farm_worker", "farm_reader")
            }
            owner = text("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'farm'")
            assert connection.execute(owner).scalar_one() == "farm"
        engine.dispose()
    finally:
        server.remove()


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
    WorkerJobs(store, settings).register(WorkerInfo(**words, pid=1))


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


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: kustomize has not been asked")
def test_kustomize_makes_of_it_what_these_tests_looked_at():
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True, timeout=60, check=True
    )
    made = {f"{d['kind']}/{d['metadata']['name']}": d for d in yaml.safe_load_all(done.stdout)}
    for name, pod in pods().items():
        real = made[name]["spec"]["template"]["spec"]
        for kind in ("initContainers", "containers"):
            assert [c["args"] for c in real.get(kind, ())] == [c["args"] for c in pod.get(kind, ())]
            assert [environment(c) for c in real.get(kind, ())] == [environment(c) for c in pod.get(kind, ())]
        assert real["volumes"] == pod["volumes"]


def test_the_broker_has_a_user_for_every_type_of_the_cluster():
    users = (DEPLOY / "broker" / "users.acl").read_text()
    assert all(f"user {acl.worker(catalog.gpu(gpu).queue)} " in users for gpu in GPUS)
