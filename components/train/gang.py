"""stub"""

from components.config_cluster import ClusterConfig
from components.train.job import Job


def run_jobset(job: Job, cluster: ClusterConfig) -> None:
    """stub"""
