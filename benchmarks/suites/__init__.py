"""What is measured, one module per suite."""
