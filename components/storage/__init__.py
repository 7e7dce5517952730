"""Object storage and local files behind one interface: the only code that speaks to a storage service."""
