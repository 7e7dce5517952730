"""The verb that turns a checkpoint into a released version."""
