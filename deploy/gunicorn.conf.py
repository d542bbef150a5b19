"""gunicorn's settings: `gunicorn --config deploy/gunicorn.conf.py`. Each comment says why the setting is there."""

import atexit
import logging
import os
import shutil
import tempfile

wsgi_app = "deploy.api:create_app()"  # so that the Procfile, the Dockerfile and render.yaml do not repeat it

# Hosts such as Render and Heroku set PORT, and connect from outside the container.
bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"

# At most one process per core: the work is CPU-bound, and each process takes about 100 MB.
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
workers = max(1, int(os.environ.get("WEB_CONCURRENCY") or min(2, cores)))

# Threads, so that a slow upload or a health check does not wait for a running prediction: as many as the concurrency
# limiter lets run or wait, and two more that return 503.
worker_class = "deploy.worker.Worker"
threads = int(os.environ.get("THAW_CONCURRENCY") or 1) + int(os.environ.get("THAW_QUEUE") or 16) + 2

# By default onnxruntime uses all cores for each prediction. Workers that compete for cores are slower than workers that share.
os.environ.setdefault("THAW_THREADS", str(max(1, cores // workers)))

timeout = 30  # seconds without a heartbeat, after which a worker is replaced; slow requests do not delay the heartbeat
graceful_timeout = 25  # hosts send SIGKILL 30 s after SIGTERM, and requests in flight must be finished before
keepalive = 75  # seconds; proxies reuse idle connections, and a request on one that was just closed fails

# Replace workers now and then, against slow memory leaks in image decoders. The jitter avoids replacing all at once.
max_requests = 20_000
max_requests_jitter = 4_000

# Heartbeats are file writes, which can stall on a slow or network disk. /dev/shm is in memory.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

control_socket_disable = True  # gunicorn 27 opens one for all servers of a user; it is not used here

# Hosts collect logs from stdout and stderr.
accesslog = "-"
errorlog = "-"
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(M)s ms id=%({x-request-id}o)s'


def on_starting(server):
    """Create the folder in which the workers share their metrics. A reload (SIGHUP) does not call this and keeps them."""
    folder = tempfile.mkdtemp(prefix="thaw-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    atexit.register(remove_metrics, folder, os.getpid())  # gunicorn may skip on_exit if workers fail to start


def remove_metrics(folder, owner):
    """Delete the metrics folder in the process that made it. Forked workers inherit the exit handler."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
