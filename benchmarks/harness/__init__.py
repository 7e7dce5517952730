"""How contenders take turns and how results become a report."""
