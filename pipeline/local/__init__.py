"""The compiled pipeline on this machine, without a cluster."""
