"""Local directories and object storage behind one interface, for all of kubert."""
