"""What options for rare classes, retrainings and long texts change in accuracy and CPU seconds."""
