"""Tables and names in the operator guide are those of the manifests and of the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes.utils import parse_quantity

from components.config.schema import Config
from pipeline.doctor import cluster_checks
from tests.support import manifests
from tests.support.documents.page_tables import Row, read_page, read_table

PAGES = (
    "kind",
    "gke",
    "eks",
    "kubeflow",
    "object-storage",
    "schedules",
    "security",
    "cost",
    "from-tfjob",
)
TEMPLATES = manifests.ROOT / "overlays"
MIB = 2**20


def read_patches(file: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The strategic merge patches of an overlay, by kind and name."""
    documents = yaml.safe_load_all((TEMPLATES / file).read_text(encoding="utf-8"))
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}


KIND = read_patches("kind/patch-small-resources.yaml")
GPU = [read_patches(f"{overlay}/patch-gpu-quota.yaml") for overlay in ("gke", "eks")]


def list_names(kind: str) -> list[str]:
    """The names of all manifests of a kind, sorted."""
    written = (manifest for _, manifest in manifests.list_written())
    return sorted(one["metadata"]["name"] for one in written if one["kind"] == kind)


def sum_requests(deployment: str, patches: dict[tuple[str, str], dict[str, Any]]) -> Row:
    """CPU, memory and disk that a deployment's pod requests, as in the table."""
    pod = manifests.one("Deployment", deployment)["spec"]["template"]["spec"]
    patch = patches.get(("Deployment", deployment))
    changed = (
        {one["name"]: one for one in manifests.containers(patch["spec"]["template"]["spec"])}
        if patch
        else {}
    )
    totals = dict.fromkeys(("cpu", "memory", "ephemeral-storage"), 0)
    for container in manifests.containers(pod):
        requests = dict(container["resources"]["requests"])
        requests |= changed.get(container["name"], {}).get("resources", {}).get("requests", {})
        for resource in totals:
            totals[resource] += parse_quantity(requests[resource])
    return [
        f"{totals['cpu'] * 1000:.0f}m",
        *(f"{totals[name] / MIB:.0f}Mi" for name in ("memory", "ephemeral-storage")),
    ]


def count_replicas(patches: dict[tuple[str, str], dict[str, Any]]) -> str:
    key = ("HorizontalPodAutoscaler", "kubert-serving")
    spec = patches[key]["spec"] if key in patches else manifests.one(*key)["spec"]
    return f"{spec['minReplicas']} to {spec['maxReplicas']}"


def test_the_idle_cost_is_what_the_deployments_request() -> None:
    server, kind_server, board, kind_board, training = read_table("cost", "Idle cost")
    assert server[1:] == [count_replicas({}), *sum_requests("kubert-serving", {})]
    assert kind_server[1:] == [count_replicas(KIND), *sum_requests("kubert-serving", KIND)]
    assert board[1:] == ["1", *sum_requests("kubert-tensorboard", {})]
    assert kind_board[1:] == ["1", *sum_requests("kubert-tensorboard", KIND)]
    assert set(training[1:]) == {"0"}
    assert list_names("Deployment") == ["kubert-serving", "kubert-tensorboard"]


def test_the_limits_are_those_of_the_quotas() -> None:
    base = manifests.one("ResourceQuota", "kubert")["spec"]["hard"]
    key = ("ResourceQuota", "kubert")
    kind = base | KIND[key]["spec"]["hard"]
    cloud, other = (base | patches[key]["spec"]["hard"] for patches in GPU)
    assert cloud == other
    shown = {
        resource: (on_cloud, on_kind)
        for names, on_cloud, on_kind in read_table("cost", "Limits")
        for resource in names.split(", ")
    }
    assert shown == {resource: (str(cloud[resource]), str(kind[resource])) for resource in base}


def list_role_rows() -> Iterator[tuple[str, ...]]:
    """Role, API group, resources and actions of every rule, as in the table."""
    for _, role in manifests.list_written():
        for rule in role["rules"] if role["kind"] == "Role" else ():
            (group,) = rule["apiGroups"]
            names = "".join(f" (only {name})" for name in rule.get("resourceNames", ()))
            resources = ", ".join(f"{resource}{names}" for resource in rule["resources"])
            yield role["metadata"]["name"], group or "core", resources, ", ".join(rule["verbs"])


def test_the_roles_table_has_every_rule_and_no_other() -> None:
    shown = [
        (role.removesuffix(" (optional)"), *cells)
        for role, *cells in read_table("security", "Roles")
    ]
    assert sorted(shown) == sorted(list_role_rows())


def test_the_accounts_table_has_every_account_its_token_and_its_roles() -> None:
    written = [manifest for _, manifest in manifests.list_written()]
    roles: dict[str, list[str]] = {}
    for binding in (one for one in written if one["kind"] == "RoleBinding"):
        for subject in binding["subjects"]:
            roles.setdefault(subject["name"], []).append(binding["roleRef"]["name"])
    expected = {
        one["metadata"]["name"]: (
            "yes" if one.get("automountServiceAccountToken", True) else "no",
            sorted(set(roles.get(one["metadata"]["name"], [])) - {"kubert-kubeflow-storage"}),
        )
        for one in written
        if one["kind"] == "ServiceAccount"
    }
    shown = {
        account: (token, sorted(set(names.split(", ")) - {"none"}))
        for account, _, token, names in read_table("security", "Service accounts")
    }
    assert shown == expected


def test_the_network_tables_name_every_policy() -> None:
    shown = [
        row[0] for number in (0, 1) for row in read_table("security", "Network policies", number)
    ]
    assert sorted(shown) == list_names("NetworkPolicy")


def test_the_schedule_table_has_every_option_with_its_default() -> None:
    shown = {
        option: default
        for option, default, _ in read_table("schedules", "Create or change a schedule")
    }
    defaults = {
        f"schedule.{name}": value if isinstance(value, str) else str(value).lower()
        for name, value in Config().schedule.model_dump().items()
    }
    assert shown == defaults | {"schedule.name": "the model's name"}


@pytest.mark.parametrize("row", read_table("cost", "What ends by itself"), ids=lambda row: row[0])
def test_a_limit_of_time_has_the_schemas_default(row: Row) -> None:
    section, _, option = row[0].partition(".")
    shown = int(re.match(r"\d+", row[1])[0])  # type: ignore[index]
    assert shown == getattr(getattr(Config(), section), option)


def test_the_doctors_checks_are_listed_in_their_order() -> None:
    config = Config.model_validate(
        {
            "cluster": {
                "backend": "jobset",
                "priority_class": "low",
                "queue": "team",
                "storage_secret": "keys",
                "pipeline_root": "gs://bucket/runs",
                "checkpoint_uri": "gs://bucket/state",
            }
        }
    )
    shown = [name for row in read_table("kind", "Check the cluster") for name in row[0].split(", ")]
    assert shown == [check.name for check in cluster_checks.build_checks(config)]


@pytest.mark.parametrize("page", PAGES)
def test_options_that_a_page_names_exist(page: str) -> None:
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    named = re.findall(rf"`({'|'.join(sections)})\.([a-z_]+)[`:=]", read_page(page))
    unknown = [
        f"{section}.{option}"
        for section, option in named
        if option not in sections[section].model_fields  # type: ignore[union-attr]
    ]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES)
def test_folders_of_manifests_that_a_page_names_exist(page: str) -> None:
    named = set(re.findall(r"`((?:k8s/|overlays/)[a-z0-9/-]+(?:\.yaml)?)`", read_page(page)))
    paths = [manifests.ROOT / name.removeprefix("k8s/") for name in sorted(named)]
    assert [path for path in paths if not path.exists()] == []
