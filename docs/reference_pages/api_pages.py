"""The pages of the Python API: one per public part of the code, filled by mkdocstrings."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from docs.reference_pages.markdown import format_page, format_table, wrap

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ApiPage:
    """A page: its file name, its title, what the modules are for, and the modules."""

    name: str
    title: str
    purpose: str
    modules: tuple[str, ...]


API_PAGES = (
    ApiPage(
        "kubert",
        "kubert",
        "Everything that `import kubert` gives.",
        (
            "kubert",
            "pipeline.api.local_runs",
            "pipeline.api.cluster_runs",
            "pipeline.api.releases",
            "pipeline.api.models",
            "pipeline.api.settings",
            "components.errors",
        ),
    ),
    ApiPage(
        "config",
        "Configuration",
        "Load, check and print configurations.",
        (
            "components.config.loading",
            "components.config.schema",
            "components.config.data",
            "components.config.model",
            "components.config.cluster",
        ),
    ),
    ApiPage(
        "artifacts",
        "Artifacts",
        "Write, verify, upload and download artifacts.",
        (
            "components.artifacts.artifact",
            "components.artifacts.manifest",
            "components.artifacts.transfer",
            "components.artifacts.token_shards",
            "components.artifacts.checkpoint",
            "components.artifacts.report",
            "components.artifacts.release",
        ),
    ),
    ApiPage(
        "storage",
        "Storage",
        "Read and write files in directories, Google Cloud Storage and S3.",
        (
            "components.storage.store",
            "components.storage.backend",
            "components.storage.uri",
            "components.storage.atomic_files",
        ),
    ),
    ApiPage(
        "registry",
        "Model registry",
        "Publish, list, roll back and pull the versions of a model.",
        (
            "components.registry.registry",
            "components.registry.champion",
            "components.registry.reference",
            "components.registry.version_info",
            "components.registry.listing",
        ),
    ),
    ApiPage(
        "encoders",
        "Model and encoders",
        "Build the classifier and its encoders.",
        (
            "components.model.classifier",
            "components.model.encoders",
            "components.model.encoders.scratch",
            "components.model.encoders.hugging_face",
            "components.model.encoders.tf_hub",
            "components.model.tokenizer",
            "components.model.serving_model",
        ),
    ),
    ApiPage(
        "train",
        "Training",
        "Train a classifier with one or more workers.",
        (
            "components.train.step",
            "components.train.job",
            "components.train.loop.trainer",
            "components.train.loop.train_step",
            "components.train.loop.deferred_adamw",
            "components.train.checkpointing.state_store",
        ),
    ),
    ApiPage(
        "workers",
        "Workers",
        "Start a group of worker processes, here or on Kubernetes, and watch it.",
        (
            "components.workers.group",
            "components.workers.local.launcher",
            "components.workers.topology",
            "components.workers.rendezvous",
            "components.workers.exit_codes",
            "components.workers.kubernetes.launcher",
            "components.workers.kubernetes.monitor",
        ),
    ),
    ApiPage(
        "pipeline",
        "Pipeline",
        "Run the pipeline on this machine or with Kubeflow Pipelines.",
        (
            "pipeline.local.runner",
            "pipeline.local.inputs",
            "pipeline.kubeflow.client",
            "pipeline.kubeflow.submit",
            "pipeline.kubeflow.follow_run",
            "pipeline.kubeflow.schedules",
        ),
    ),
    ApiPage(
        "explain",
        "Explanations",
        "Explain the answers of a release, or of a classifier in memory.",
        (
            "components.explain.loading",
            "components.explain.explainer",
            "components.explain.explanation",
            "components.explain.attribution",
            "components.explain.attention",
            "components.explain.page",
        ),
    ),
)


def format_api_page(page: ApiPage) -> str:
    """A page: a sentence on each module, then the members from the docstrings.

    Code hosts show the table; the site fills the directives below it.
    """
    rows = [(f"`{module}`", _read_summary(module)) for module in page.modules]
    return format_page(
        f"{page.title} API",
        wrap(
            f"{page.purpose} This page is for developers; the members of each module are on the "
            "documentation site, which `make docs` builds from the docstrings."
        ),
        format_table(("module", "content"), rows),
        *(f"::: {module}" for module in page.modules),
    )


def _read_summary(module: str) -> str:
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())
