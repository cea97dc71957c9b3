"""Benchmarks of tfp_realnvp against its peers; `python -m benchmarks.main --help` explains."""
