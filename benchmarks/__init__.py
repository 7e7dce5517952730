"""The benchmarks: speed against what one would use instead, each chapter alone or all of them by `make bench`."""
