"""Measurements that anyone can repeat; each compares side by side and writes docs/benchmarks.md."""
