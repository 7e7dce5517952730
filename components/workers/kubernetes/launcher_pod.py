"""Who launches: the pod that this process runs in, as the downward API tells it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from components.config.environment import ENV_NAMESPACE, ENV_POD_NAME, ENV_POD_UID, ENV_RUN


class LauncherPod(BaseModel):
    """Name, uid and run are empty where the launcher is no pod (on a developer's machine)."""

    model_config = ConfigDict(frozen=True)
    namespace: str
    name: str = ""
    uid: str = ""
    run: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str], namespace: str) -> LauncherPod:
        """The pod that KUBERT_POD_NAME, KUBERT_POD_UID, KUBERT_NAMESPACE and KUBERT_RUN describe; `namespace` counts without the third."""
        return cls(
            namespace=environment.get(ENV_NAMESPACE) or namespace,
            name=environment.get(ENV_POD_NAME, ""),
            uid=environment.get(ENV_POD_UID, ""),
            run=environment.get(ENV_RUN, ""),
        )

    def owner_references(self) -> list[dict[str, object]]:
        """What makes Kubernetes delete the gang when this pod is deleted."""
        if not (self.name and self.uid):
            return []
        return [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": self.name,
                "uid": self.uid,
                "controller": True,
            }
        ]
