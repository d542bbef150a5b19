"""What an operator watches, for Prometheus: over all workers of a host."""

import os

import prometheus_client
from prometheus_client import multiprocess

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = prometheus_client.Counter("thaw_requests", "Requests by endpoint and status.", ["endpoint", "status"])
LATENCY = prometheus_client.Histogram(
    "thaw_request_seconds", "From the request's first line read to the answer made.", ["endpoint"], buckets=SECONDS
)
STAGE = prometheus_client.Histogram(
    "thaw_stage_seconds",
    "Of an answer: decoding and fitting its images, and running the model.",
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
