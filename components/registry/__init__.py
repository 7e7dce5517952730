"""The model registry in object storage: publish, champion, rollback, pull."""
