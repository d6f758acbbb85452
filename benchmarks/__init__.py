"""Benchmarks: what Highwater costs, as ratios within one run (`make bench`). Not tests; nothing here is asserted."""
