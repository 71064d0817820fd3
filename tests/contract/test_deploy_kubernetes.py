"""deploy/kubernetes names what there is: commands, files, types, secrets, grants."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from farm import catalog
from farm.broker import acl
from tests.contract.deployment import (
    DEPLOY,
    GPUS,
    KUBERNETES,
    check_command,
    containers,
    environment,
    pods,
    secret_files,
    settings_of,
)


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
