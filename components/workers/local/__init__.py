"""A worker group as processes of this machine."""
