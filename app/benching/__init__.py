"""What `foretaste bench` measures; docs/benchmarks.md shows the figures."""
