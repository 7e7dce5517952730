"""Finds the Kubernetes cluster and describes its refusals, the same way for every caller.

The cluster is, in this order:

1. that of the kubeconfig files in KUBECONFIG, if it is set; an unusable one is an error, nothing
else is tried;
2. that of the pod this process runs in;
3. that of the current context in ~/.kube/config.

The `kubernetes` package is imported on first use.
"""

from __future__ import annotations

import json
import os
from typing import Any

from yaml import YAMLError

from components.errors import ConfigError, KubertError

DEFAULT_KUBECONFIG = "~/.kube/config"
MAX_REASON_LENGTH = 600
_QUOTA_REASON = "exceeded quota"


class ClusterNotFoundError(ConfigError):
    """No usable kubeconfig, and not in a pod."""


class KubernetesRefusedError(ConfigError):
    """The API server refused a request that another attempt would not change."""


class KubernetesUnavailableError(KubertError):
    """The API server did not answer, or answered with errors for too long."""


def new_api_client(*, connection_retries: int | bool | None = None) -> Any:
    """A `kubernetes.client.ApiClient` for the cluster; ClusterNotFoundError if there is none.

    connection_retries: those of urllib3 for one request; False: none, None: urllib3's default.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    named = os.environ.get("KUBECONFIG")
    try:
        if not named and _load_in_cluster(configuration):
            source = "the pod's service account"
        else:
            source = f"KUBECONFIG={named}" if named else DEFAULT_KUBECONFIG
            config.load_kube_config(named or DEFAULT_KUBECONFIG, client_configuration=configuration)
    except (config.ConfigException, YAMLError, OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ClusterNotFoundError(
            f"no Kubernetes cluster: {source} is not usable ({reason}); "
            "set KUBECONFIG, or choose a context with kubectl config use-context"
        ) from None
    if connection_retries is not None:
        configuration.retries = connection_retries
    return client.ApiClient(configuration)


def describe_api_error(error: Any) -> str:
    """The reason in an `ApiException`: the server's message, else its status, in one line."""
    try:
        return " ".join(str(json.loads(error.body)["message"]).split())[:MAX_REASON_LENGTH]
    except (ValueError, KeyError, TypeError):
        return f"{error.status} {error.reason}"


def describe_refusal(action: str, namespace: str, error: Any) -> str:
    """One sentence about an `ApiException`, such as for the action "list pods"."""
    text = f"Kubernetes refuses to {action} in namespace {namespace}: {describe_api_error(error)}"
    if _QUOTA_REASON in text:
        text += (
            "; wait until other runs and their JobSets are gone (cluster.ttl_after_finished), "
            "delete them, or raise the quota"
        )
    elif error.status in (401, 403):
        text += "; give the account the role in k8s/accounts that allows it"
    return text


def _load_in_cluster(configuration: Any) -> bool:
    from kubernetes import config

    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        return False
    return True
