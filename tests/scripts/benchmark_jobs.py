"""Jobs that need no network: for the runner's tests, importable by its workers."""

import os
import time

from scripts.benchmarks.rows import KEY, Row
from scripts.benchmarks.runner import Job, Made


def row_of(job: Job, **more: object) -> Row:
    return {**dict(zip(KEY, job.key, strict=True)), "options": "abc", "commit": "none", **more}


def work(job: Job) -> Made:
    """Do what the method's name says."""
    if job.method == "raises":
        raise ValueError("as it was told\nsecond line")
    if job.method == "dies":
        os._exit(7)
    if job.method == "waits":
        time.sleep(60)
    place = job.place.cache / f"{job.method}-{job.seed}"
    place.write_text(str(int(place.read_text()) + 1 if place.exists() else 1), encoding="utf-8")
    return {job.table: [row_of(job, map=0.25 + job.seed, bootstrap=[float(os.getpid())])]}
