"""What client-certificate identity costs, as ratios in one run: `python -m tests.benchmarks`. Asserts nothing."""
