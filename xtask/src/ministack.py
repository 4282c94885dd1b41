"""Runs ministack from the directory in argv[1], prints its URL once it answers, and ends when standard input ends.

argv[2] is a scratch directory, which is removed at the end. xtask alone holds the other end of standard input, so the
server ends with xtask, even if xtask is killed.
"""

import os
import shutil
import socket
import sys
import threading
import time
import urllib.request

packages, scratch = sys.argv[1:3]


def end_with_parent():
    while os.read(0, 4096):
        pass
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def announce(url):
    for _ in range(400):
        try:
            with urllib.request.urlopen(url + "/_ministack/health", timeout=2) as answer:
                if b'"dynamodb"' in answer.read(65536):
                    print(url, file=stdout, flush=True)
                    return
        except OSError:
            pass
        time.sleep(0.1)
    os._exit(1)


stdout, sys.stdout = sys.stdout, sys.stderr
port = str(free_port())
# DynamoDB alone, in memory; nothing is written outside the scratch directory.
os.environ.update(BIND_HOST="127.0.0.1", GATEWAY_PORT=port, SERVICES="dynamodb", PERSIST_STATE="0", SFTP_ENABLED="0")
os.environ.update(IOT_MTLS_ENABLED="0", LOG_LEVEL="WARNING", USE_SSL="0", AUTH="false", TMPDIR=scratch)
threading.Thread(target=end_with_parent, daemon=True).start()
threading.Thread(target=announce, args=("http://127.0.0.1:" + port,), daemon=True).start()
sys.path.insert(0, packages)
sys.argv = ["ministack"]

from ministack.app import main  # noqa: E402, from the directory above

main()
