"""Timings, as ratios against named peers in one run: ``python -m tests.benchmarks``."""
