"""Measuring the served pipeline: data sets, metrics, runs."""
