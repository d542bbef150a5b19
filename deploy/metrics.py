"""Prometheus metrics, summed over all workers of a host."""

import os

import prometheus_client
from prometheus_client import multiprocess

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = prometheus_client.Counter("thaw_requests", "Requests by endpoint and status.", ["endpoint", "status"])
LATENCY = prometheus_client.Histogram(
    "thaw_request_seconds", "Time from receiving a request to its response.", ["endpoint"], buckets=SECONDS
)
STAGE = prometheus_client.Histogram(
    "thaw_stage_seconds",
    "Time per request in each stage: decode (decode and resize the images), inference (run the model).",
    ["stage"],
    buckets=SECONDS,
)


def exposition() -> bytes:
    """Return all metrics in Prometheus's text format; under gunicorn, summed over its workers."""
    registry = prometheus_client.REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = prometheus_client.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    return prometheus_client.generate_latest(registry)
