"""gunicorn's settings: `gunicorn --config deploy/gunicorn.conf.py`. Every line says why it is there."""

import atexit
import logging
import os
import shutil
import tempfile

# What to serve; here, so that the Procfile, the Dockerfile and a shell need not repeat it.
wsgi_app = "deploy.api:create_app()"

# Hosts such as Render and Heroku name the port that they forward to, and reach the process from outside itself.
bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"

# One process a core at most: the work is computing, and each further process would hold its own 100 MB.
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
workers = max(1, int(os.environ.get("WEB_CONCURRENCY") or min(2, cores)))

# Threads, so that a slow upload, a health check or a page does not wait behind an answer that is being computed; the class is
# gunicorn's gthread but for stalled clients and how it stops. As many threads as may be inside the application's limiter or
# waiting at it, and two to refuse more.
worker_class = "deploy.worker.Worker"
threads = int(os.environ.get("THAW_CONCURRENCY") or 1) + int(os.environ.get("THAW_QUEUE") or 16) + 2

# onnxruntime would take every core for every answer; workers that fight over cores are slower than workers that share them.
os.environ.setdefault("THAW_THREADS", str(max(1, cores // workers)))

# A worker that shows no sign of life for so long is replaced. gthread's sign comes from its main thread, not from requests.
timeout = 30

# On SIGTERM requests in flight are answered; hosts send SIGKILL 30 s after SIGTERM, so stop before that.
graceful_timeout = 25

# Proxies keep connections open; one closed by us just as they send again would be an error to a user.
keepalive = 75

# A worker is replaced now and then, against slow leaks in image decoders; the jitter keeps two from going at once.
max_requests = 20_000
max_requests_jitter = 4_000

# Heartbeats are file writes; on a slow or network disk they can stall. /dev/shm is memory.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

# gunicorn 27 opens a socket to control it, one for all servers of a user; nothing here uses it.
control_socket_disable = True

# To stdout and stderr, where hosts collect logs.
accesslog = "-"
errorlog = "-"
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")  # what our own code has to say
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(M)s ms id=%({x-request-id}o)s'


def on_starting(server):
    """Make a folder for the files of counts that the workers keep, so that /metrics can answer for all of them.

    Here and not above, so that a reload (SIGHUP), which reads this file again, keeps the counts.
    """
    counts = tempfile.mkdtemp(prefix="thaw-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
    # Not by gunicorn's on_exit, which is not always called where workers fail to start.
    atexit.register(forget, counts, os.getpid())


def forget(counts, owner):
    """Leave nothing behind; the workers inherit this, and only the process that made the folder may delete it."""
    if os.getpid() == owner:
        shutil.rmtree(counts, ignore_errors=True)
