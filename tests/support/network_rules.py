"""Evaluates Kubernetes network policies, for tests of policies where no cluster enforces them.

A pod that no policy selects is open. Otherwise a connection needs one rule that allows it out of
the source, and one that allows it into the target:
https://kubernetes.io/docs/concepts/services-networking/network-policies/.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Policy = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod with its labels, and those of its namespace."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = "kubert"
    namespace_labels: dict[str, str] = field(default_factory=dict)


def connects(
    policies: Iterable[Policy], source: Pod, target: Pod | str, port: int, protocol: str = "TCP"
) -> bool:
    """Whether `source` may open a connection to a pod, or to an address outside the cluster."""
    policies = list(policies)
    leaves = _is_allowed(policies, source, target, "Egress", "to", port, protocol)
    return leaves and (
        isinstance(target, str)
        or _is_allowed(policies, target, source, "Ingress", "from", port, protocol)
    )


def _is_allowed(
    policies: list[Policy],
    pod: Pod,
    peer: Pod | str,
    direction: str,
    key: str,
    port: int,
    protocol: str,
) -> bool:
    selected = [p for p in policies if direction in p["spec"]["policyTypes"] and _is_in(p, pod)]
    rules = [rule for policy in selected for rule in policy["spec"].get(direction.lower(), [])]
    return not selected or any(
        _port(rule.get("ports"), port, protocol)
        and (key not in rule or any(_peer(entry, peer, pod) for entry in rule[key]))
        for rule in rules
    )


def _is_in(policy: Policy, pod: Pod) -> bool:
    return bool(policy["metadata"]["namespace"] == pod.namespace) and _matches(
        policy["spec"]["podSelector"], pod.labels
    )


def _peer(entry: Policy, peer: Pod | str, home: Pod) -> bool:
    if "ipBlock" in entry:
        block = entry["ipBlock"]
        within = [
            ipaddress.ip_network(network) for network in (block["cidr"], *block.get("except", []))
        ]
        address = ipaddress.ip_address(peer if isinstance(peer, str) else "10.99.0.9")
        return address in within[0] and not any(address in network for network in within[1:])
    if isinstance(peer, str):
        return False
    if "namespaceSelector" in entry:
        names = {"kubernetes.io/metadata.name": peer.namespace, **peer.namespace_labels}
        if not _matches(entry["namespaceSelector"], names):
            return False
    elif peer.namespace != home.namespace:
        return False
    return _matches(entry.get("podSelector", {}), peer.labels)


def _matches(selector: Policy, labels: dict[str, str]) -> bool:
    plain = all(
        labels.get(name) == value for name, value in selector.get("matchLabels", {}).items()
    )
    return plain and all(
        _expression(entry, labels) for entry in selector.get("matchExpressions", [])
    )


def _expression(entry: Policy, labels: dict[str, str]) -> bool:
    if entry["operator"] == "Exists":
        return entry["key"] in labels
    assert entry["operator"] == "In"
    return labels.get(entry["key"]) in entry["values"]


def _port(ports: list[Policy] | None, port: int, protocol: str) -> bool:
    if ports is None:
        return True
    for entry in ports:
        first: int = entry["port"]
        last: int = entry.get("endPort", first)
        if entry.get("protocol", "TCP") == protocol and first <= port <= last:
            return True
    return False
