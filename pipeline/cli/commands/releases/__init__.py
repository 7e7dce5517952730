"""The commands about releases: use a released model, download it, serve it, list and roll back."""
