"""How sure a figure or an answer is: confidence intervals, calibration, thresholds."""
