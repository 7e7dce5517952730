"""The verb that brings a release to where it is served, and asks it."""
