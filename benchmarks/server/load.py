"""A load test over several connections."""

import http.client
import itertools
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np


@dataclass
class LoadReport:
    """Latencies and errors of all connections.

    Attributes:
        seconds: from the first request to the last response.
        latencies: seconds of each response with status 200.
        errors: status or exception name of each failed request.
    """

    seconds: float
    latencies: list[float]
    errors: list[str]

    def as_dict(self) -> dict:
        """Return requests per second, median and 99th percentile in ms, and the numbers of responses and errors."""
        milliseconds = 1000 * np.array(self.latencies or [np.nan])
        return {
            "requests_per_second": round(len(self.latencies) / self.seconds, 1),
            "p50_ms": round(float(np.percentile(milliseconds, 50)), 2),
            "p99_ms": round(float(np.percentile(milliseconds, 99)), 2),
            "answers": len(self.latencies),
            "errors": len(self.errors),
        }


def multipart(data: bytes, filename: str = "image") -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a form with one file part named `file`."""
    boundary = uuid.uuid4().hex
    disposition = f'Content-Disposition: form-data; name="file"; filename="{filename}"'
    head = f"--{boundary}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def load(url: str, bodies: list[tuple[bytes, dict[str, str]]], *, connections: int, seconds: float) -> LoadReport:
    """Send POST requests over keep-alive connections, each with one request in flight.

    Args:
        url: of the endpoint.
        bodies: (body, headers) pairs that each connection sends in turn.
        connections: their number; a broken one is opened again.
        seconds: duration.
    """
    start = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        sent = list(pool.map(lambda first: _send(url, bodies, first, start + seconds), range(connections)))
    elapsed = time.perf_counter() - start
    return LoadReport(elapsed, *(list(itertools.chain(*each)) for each in zip(*sent, strict=True)))


def _send(url: str, bodies: list, first: int, end: float) -> tuple[list[float], list[str]]:
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
    latencies, errors = [], []
    number = first
    while (started := time.perf_counter()) < end:
        body, headers = bodies[number % len(bodies)]
        number += 1
        try:
            connection.request("POST", target.path, body, headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            errors.append(type(error).__name__)
            connection.close()
            continue
        if response.status == 200:
            latencies.append(time.perf_counter() - started)
        else:
            errors.append(str(response.status))
    connection.close()
    return latencies, errors
