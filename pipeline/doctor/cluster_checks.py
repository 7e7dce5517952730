"""What a run on a cluster needs: rights, kinds, accounts, quota and nodes in Kubernetes; Kubeflow Pipelines; stores; images.

Everything is asked of the real API server, as the current context's account; what that account may not look at is a warning, not a
finding. A JobSet is created as a dry run, so that its controller's webhooks have to answer.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

from components.config.cluster import ClusterConfig
from components.config.schema import Config
from components.errors import UsageError
from pipeline import images
from pipeline.doctor import Check, Finding, machine_checks, missing, ok, warning
from pipeline.kubeflow import endpoint

LIMIT = (4.0, 8.0)
MANIFESTS = "kubectl apply -k k8s/overlays/<yours>"
LAUNCHER_RIGHTS = (
    ("jobset.x-k8s.io", "jobsets", ("create", "get", "delete")),
    ("", "pods", ("list",)),
    ("", "pods/log", ("get",)),
    ("", "events", ("list",)),
)
STEP_RIGHTS = (
    ("argoproj.io", "workflowtaskresults", ("create", "patch")),
    ("argoproj.io", "workflows", ("get",)),
)
USER_RIGHTS = (
    ("", "pods", ("list",)),
    ("", "pods/log", ("get",)),
    ("jobset.x-k8s.io", "jobsets", ("get",)),
)
FORBIDDEN_RIGHTS = (
    ("", "secrets", ("get", "list")),
    ("", "pods", ("create", "delete")),
    ("", "pods/exec", ("create",)),
)
Rights = tuple[tuple[str, str, tuple[str, ...]], ...]


def build_checks(config: Config) -> list[Check]:
    """The checks for `kubert submit` with this configuration, in the cluster of the current context."""
    place = endpoint.resolve_connection(config.cluster)
    cluster = Cluster(place)
    worker = place.worker_service_account
    found = [
        Check("kubernetes", cluster.version),
        Check("namespace", cluster.namespace, needs="kubernetes"),
        Check("own rights", cluster.own_rights, needs="namespace"),
        Check("pipeline's account", cluster.pipeline_account, needs="namespace"),
        Check("workers' account", lambda: cluster.bare_account(worker), needs="namespace"),
        Check(
            "workflows",
            lambda: cluster.kind("argoproj.io", "workflows", "install Kubeflow Pipelines"),
            needs="kubernetes",
        ),
        Check("kubeflow pipelines", lambda: pipelines(place), 60),
        Check("nodes", lambda: cluster.nodes(), needs="kubernetes"),
        Check("quota", lambda: cluster.quota(config.train.workers), needs="namespace"),
        Check("images", lambda: image_references(place)),
    ]
    if place.backend == "jobset":
        found.insert(2, Check("jobset", cluster.jobset, needs="namespace"))
    if place.queue:
        found.insert(3, Check("kueue", cluster.local_queue, needs="namespace"))
    if place.storage_secret:
        found.append(Check("storage secret", cluster.storage_secret, needs="namespace"))
    found.append(
        Check(
            "kserve",
            lambda: cluster.optional("serving.kserve.io", "inferenceservices"),
            needs="kubernetes",
        )
    )
    places = {"pipeline root": place.pipeline_root, "checkpoints": place.checkpoint_uri}
    return found + [
        Check(name, partial(remote_store, uri), 60) for name, uri in places.items() if uri
    ]


class Cluster:
    """The API server of the current context (or of the pod that this runs in), asked with a limit on each call."""

    def __init__(self, place: ClusterConfig) -> None:
        self._place = place

    @cached_property
    def _client(self) -> Any:
        from kubernetes import client, config

        try:
            try:
                config.load_incluster_config()
            except config.ConfigException:
                config.load_kube_config()
        except (config.ConfigException, OSError, TypeError, ValueError) as error:
            raise UsageError(
                f"no cluster: {error}; set KUBECONFIG, or choose a context with kubectl config use-context"
            ) from None
        settings = client.Configuration.get_default_copy()
        settings.retries = False
        return client.ApiClient(settings)

    def _get(self, path: str, **query: Any) -> Any:
        """The JSON value at a path; None for 404."""
        return self._call("GET", path, None, **query)

    def _call(self, method: str, path: str, body: Any, **query: Any) -> Any:
        from kubernetes.client import ApiException

        try:
            answer = self._client.call_api(
                path, method, body=body, query_params=list(query.items()), response_type="object", auth_settings=["BearerToken"],
                header_params={"Accept": "application/json", "Content-Type": "application/json"}, _return_http_data_only=True, _request_timeout=LIMIT,
            )  # fmt: skip
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return answer

    def version(self) -> Finding:
        """The API server's version."""
        from urllib3.exceptions import HTTPError

        try:
            told = self._get("/version")
        except HTTPError as error:
            return missing(
                f"{self._client.configuration.host}: {type(error).__name__}",
                "is the cluster up, and the context right?",
            )
        found = f"{told['gitVersion']} at {self._client.configuration.host}"
        minor = int("".join(filter(str.isdigit, told["minor"])) or 0)
        if (int(told["major"]), minor) < (1, 29):
            return missing(found, "use Kubernetes 1.29 or newer")
        return ok(found)

    def namespace(self) -> Finding:
        """The namespace, and that it enforces the restricted profile."""
        name = self._place.namespace
        found = _may(lambda: self._get(f"/api/v1/namespaces/{name}"))
        if found is None:
            return missing(f"{name}: there is none", f"{MANIFESTS}, or set cluster.namespace")
        if isinstance(found, Finding):
            return found
        level = (found["metadata"].get("labels") or {}).get(
            "pod-security.kubernetes.io/enforce", "none"
        )
        if level != "restricted":
            return warning(
                f"{name}: enforces the pod security level {level}",
                "label it pod-security.kubernetes.io/enforce=restricted; kubert's pods keep to it",
            )
        return ok(f"{name}, restricted")

    def own_rights(self) -> Finding:
        """What the current account may do to follow a run; submitting itself is Kubeflow's to allow."""
        return _lacking(
            "this account",
            self._denied(USER_RIGHTS, ""),
            "ask for the role kubert-submitter; without it there are no logs and no reasons",
            soft=True,
        )

    def pipeline_account(self) -> Finding:
        """The steps' account: there, with the rights it needs and none that it must not have."""
        name = self._place.service_account
        if (absent := self._absent(name)) is not None:
            return absent
        needed: Rights = STEP_RIGHTS + (LAUNCHER_RIGHTS if self._place.backend == "jobset" else ())
        lacking = _may(lambda: self._denied(needed, name))
        if isinstance(lacking, Finding):
            return lacking
        if lacking:
            return _lacking(name, lacking, MANIFESTS)
        return self.bare_account(name)

    def bare_account(self, name: str) -> Finding:
        """An account that is there and may not do what none of kubert's has to."""
        if (absent := self._absent(name)) is not None:
            return absent
        denied = _may(lambda: self._denied(FORBIDDEN_RIGHTS, name))
        if isinstance(denied, Finding):
            return denied
        everything = [
            f"{verb} {resource}" for _, resource, verbs in FORBIDDEN_RIGHTS for verb in verbs
        ]
        if allowed := [right for right in everything if right not in denied]:
            return warning(
                f"{name} may {', '.join(allowed)}",
                "take away the role that allows it; no step needs that",
            )
        return ok(f"{name}, no rights too many")

    def jobset(self) -> Finding:
        """JobSets: the kind is there, and its webhooks take one (a dry run: nothing is created)."""
        group, version = "jobset.x-k8s.io", "v1alpha2"
        if self._get(f"/apis/{group}/{version}") is None:
            return missing(
                "no kind JobSet",
                "install JobSet 0.12 (https://jobset.sigs.k8s.io), or set cluster.backend=local",
            )
        pod = {"restartPolicy": "Never", "containers": [{"name": "train", "image": "none"}]}
        job = {"spec": {"template": {"spec": pod}}}
        body = {
            "apiVersion": f"{group}/{version}",
            "kind": "JobSet",
            "metadata": {"name": "kubert-doctor"},
            "spec": {"replicatedJobs": [{"name": "worker", "template": job}]},
        }
        path = f"/apis/{group}/{version}/namespaces/{self._place.namespace}/jobsets"
        tried = _may(
            lambda: self._call("POST", path, body, dryRun="All"),
            "failed calling webhook",
            "JobSet's controller does not answer: kubectl -n jobset-system get pods",
        )
        return tried if isinstance(tried, Finding) else ok(f"{version}, a dry run was taken")

    def local_queue(self) -> Finding:
        """Kueue's local queue that the configuration names."""
        group, queue, namespace = "kueue.x-k8s.io", self._place.queue, self._place.namespace
        listed = self._get(f"/apis/{group}")
        if listed is None:
            return missing("no Kueue in this cluster", "install it, or take cluster.queue out")
        version = listed["preferredVersion"]["version"]
        found = _may(
            lambda: self._get(f"/apis/{group}/{version}/namespaces/{namespace}/localqueues/{queue}")
        )
        if isinstance(found, Finding):
            return found
        return (
            ok(f"queue {queue}")
            if found
            else missing(f"no local queue {queue} in {namespace}", "k8s/train/kueue has an example")
        )

    def kind(self, group: str, resource: str, remedy: str) -> Finding:
        """A kind that must be there."""
        found = self._get(f"/apis/{group}")
        return ok(f"{resource}.{group}") if found else missing(f"no {resource}.{group}", remedy)

    def optional(self, group: str, resource: str) -> Finding:
        """A kind that is good to have."""
        return ok(
            f"{resource}.{group}"
            if self._get(f"/apis/{group}")
            else "not there; only k8s/serve/kserve needs it"
        )

    def nodes(self) -> Finding:
        """Nodes that a worker fits on: its labels, CPU, memory and GPUs."""
        place = self._place
        listed = _may(lambda: self._get("/api/v1/nodes"))
        if isinstance(listed, Finding):
            return listed
        labelled = [
            node
            for node in listed["items"]
            if place.node_selector.items() <= (node["metadata"].get("labels") or {}).items()
        ]
        needed = {
            "cpu": place.cpu,
            "memory": place.memory,
            **({place.gpu_resource: str(place.gpus)} if place.gpus else {}),
        }
        fitting = [
            node
            for node in labelled
            if all(
                _number(node["status"]["allocatable"].get(name, "0")) >= _number(amount)
                for name, amount in needed.items()
            )
        ]
        wanted = ", ".join(f"{name} {amount}" for name, amount in needed.items())
        if fitting:
            return ok(f"{len(fitting)} of {len(listed['items'])} can hold a worker ({wanted})")
        if place.gpus and not any(
            _number(node["status"]["allocatable"].get(place.gpu_resource, "0")) for node in labelled
        ):
            return warning(
                f"none of {len(listed['items'])} has {place.gpu_resource}",
                "install the device plugin, or set cluster.gpu_resource; an autoscaler may add such nodes",
            )
        return warning(
            f"none of {len(listed['items'])} can hold a worker ({wanted})",
            "lower cluster.cpu or cluster.memory; an autoscaler may add larger nodes",
        )

    def quota(self, workers: int) -> Finding:
        """Room in the namespace's quotas for the gang."""
        place = self._place
        listed = _may(lambda: self._get(f"/api/v1/namespaces/{place.namespace}/resourcequotas"))
        if isinstance(listed, Finding):
            return listed
        each = {
            "requests.cpu": place.cpu,
            "requests.memory": place.memory,
            "limits.memory": place.memory,
            "pods": "1",
            f"requests.{place.gpu_resource}": str(place.gpus),
        }
        short = []
        for quota in listed["items"]:
            hard, used = quota["status"].get("hard") or {}, quota["status"].get("used") or {}
            for name in each.keys() & hard.keys():
                free = _number(hard[name]) - _number(used.get(name, "0"))
                if free < workers * _number(each[name]):
                    short.append(f"{name} {used.get(name, '0')} of {hard[name]} used")
        if short:
            return missing(
                f"no room for {workers} workers: {', '.join(sorted(short))}",
                "wait for other runs, raise the quota, or lower train.workers and their resources",
            )
        return ok(f"room for {workers} workers" if listed["items"] else "none")

    def storage_secret(self) -> Finding:
        """The secret with the store's keys; its values are not looked at."""
        name, namespace = self._place.storage_secret, self._place.namespace
        found = _may(lambda: self._get(f"/api/v1/namespaces/{namespace}/secrets/{name}"))
        if isinstance(found, Finding):
            return found
        lacking = [
            key
            for key in self._place.storage_secret_keys
            if key not in ((found or {}).get("data") or {})
        ]
        if lacking:
            return missing(
                f"{namespace}/{name}: {'there is none' if found is None else 'has no ' + ', '.join(lacking)}",
                "create it with the store's keys",
            )
        return ok(f"{name} has {' and '.join(self._place.storage_secret_keys)}")

    def _absent(self, account: str) -> Finding | None:
        found = _may(
            lambda: self._get(
                f"/api/v1/namespaces/{self._place.namespace}/serviceaccounts/{account}"
            )
        )
        if found is None:
            return missing(f"no service account {account} in {self._place.namespace}", MANIFESTS)
        return found if isinstance(found, Finding) else None

    def _denied(self, rights: Rights, account: str) -> list[str]:
        """Which of the rights an account (empty: the current one) does not have in the namespace."""
        namespace = self._place.namespace
        place = f"/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews"
        path = place if account else "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        who = {
            "user": f"system:serviceaccount:{namespace}:{account}",
            "groups": [
                "system:serviceaccounts",
                f"system:serviceaccounts:{namespace}",
                "system:authenticated",
            ],
        }
        denied = []
        for group, resource, verbs in rights:
            kind, _, part = resource.partition("/")
            for verb in verbs:
                asked = {
                    "namespace": namespace,
                    "group": group,
                    "resource": kind,
                    "subresource": part,
                    "verb": verb,
                }
                review = {
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "LocalSubjectAccessReview" if account else "SelfSubjectAccessReview",
                    "metadata": {"namespace": namespace} if account else {},
                    "spec": {"resourceAttributes": asked, **(who if account else {})},
                }
                if not self._call("POST", path, review)["status"]["allowed"]:
                    denied.append(f"{verb} {resource}")
        return denied


def pipelines(place: ClusterConfig) -> Finding:
    """Kubeflow Pipelines answers, as `kubert submit` would ask it."""
    from pipeline.kubeflow.client import KubeflowClient

    with endpoint.open_endpoint(place) as opened:
        health = KubeflowClient(opened, retry_timeout_seconds=10).get_health()
        return ok(
            f"{health.version or 'version unknown'} at {opened.url} ({opened.method}{', multi-user' if health.multi_user else ''})"
        )


def image_references(place: ClusterConfig) -> Finding:
    """Both images are named, and cannot come to mean others."""
    found = images.resolve_images(place)
    moving = [
        image
        for image in (str(found.train_image), str(found.tools_image))
        if not images.has_digest(image)
    ]
    if moving:
        return warning(
            f"without a digest: {', '.join(moving)}",
            "set KUBERT_TRAIN_IMAGE and KUBERT_TOOLS_IMAGE to what `make images` prints, name@sha256:...",
        )
    return ok("both by digest")


def remote_store(uri: str) -> Finding:
    """As the store of models is tried; an address inside the cluster need not be reachable from here."""
    found = machine_checks.check_store(uri)
    if found.state == "missing" and uri.startswith("minio://"):
        return warning(
            f"not reached from here: {found.message}",
            "it is the cluster's own; its pods may well reach it",
        )
    return found


def _lacking(who: str, rights: list[str], remedy: str, soft: bool = False) -> Finding:
    if not rights:
        return ok(f"{who} has what it needs")
    return (warning if soft else missing)(f"{who} may not {', '.join(rights)}", remedy)


def _may(ask: Any, known: str = "", remedy: str = "") -> Any:
    """What `ask` gives, or a Finding: a warning where this account may not ask, missing where the server refuses with `known`."""
    from kubernetes.client import ApiException

    try:
        return ask()
    except ApiException as error:
        said = " ".join(str(error.body or error.reason).split())[:200]
        if error.status in (401, 403):
            return warning("this account may not look", "ask someone who may, or for the right to")
        if known and known in said:
            return missing(known, remedy)
        return missing(f"the API server refuses it with {error.status}: {said}", "")


def _number(quantity: str) -> Any:
    from kubernetes.utils import parse_quantity

    return parse_quantity(quantity)
