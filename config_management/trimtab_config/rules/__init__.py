"""Prometheus recording rules, generated from the kernel's closed set of questions."""
