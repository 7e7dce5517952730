"""Artifacts: directories with a manifest written last; their formats, verification and transfer."""
