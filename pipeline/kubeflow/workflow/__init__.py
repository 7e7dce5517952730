"""The Argo workflow of a run: what it says where the API's own fields are empty."""
