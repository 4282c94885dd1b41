"""The Python agent: `agent.py key=value...`. Understands the commands of the Rust agent (src/agent/mod.rs), as far as
python-dynamodb-lock can do them."""

import datetime
import json
import resource
import sys
import threading
import time

settings = dict(pair.split("=", 1) for pair in sys.argv[1:])
sys.path.insert(0, settings["packages"])

import boto3  # noqa: E402, from the directory above
from botocore.config import Config  # noqa: E402
from python_dynamodb_lock.python_dynamodb_lock import DynamoDBLockClient  # noqa: E402


def seconds(text):
    return datetime.timedelta(milliseconds=float(text))


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


def emit(**values):
    print(json.dumps(values), flush=True)


lease = float(settings["lease"])
dynamodb = boto3.resource(
    "dynamodb",
    endpoint_url=settings["url"],
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(max_pool_connections=100),
)
client = DynamoDBLockClient(
    dynamodb,
    table_name=settings["table"],
    lease_duration=seconds(lease),
    heartbeat_period=seconds(lease / 4),
    safe_period=seconds(lease / 2),
)
# The pause between two attempts defaults to the heartbeat period; the benchmark sets one second.
wait = {
    "retry_period": seconds(settings.get("pause", 1000)),
    "retry_timeout": datetime.timedelta(hours=1),
}


def acquire():
    return client.acquire_lock(settings["lock"], **wait)


def cycle(count):
    start, used = time.monotonic_ns(), cpu()
    for _ in range(int(count)):
        acquire().release()
    emit(ns=time.monotonic_ns() - start, cpu=cpu() - used)


def hold(ms):
    lock = acquire()
    emit(acquired=time.monotonic_ns())
    time.sleep(ms / 1000)
    emit(releasing=time.monotonic_ns())
    lock.release()
    emit(released=time.monotonic_ns())


def tasks(count, ms):
    def work():
        lock = acquire()
        time.sleep(ms / 1000)
        lock.release()

    first = acquire()
    threads = [threading.Thread(target=work, daemon=True) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    time.sleep(1)
    start = time.monotonic_ns()
    first.release()
    for thread in threads:
        thread.join()
    emit(ns=time.monotonic_ns() - start, bytes=0)


commands = {"cycle": cycle, "hold": hold, "tasks": tasks}
emit(ready=True)
for line in sys.stdin:
    command, *numbers = line.split()
    commands[command](*map(float, numbers))
