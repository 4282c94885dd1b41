"""Runs ministack from the directory in argv[1] until standard input ends, and then removes its scratch directory argv[2].

The other end of standard input is held by xtask alone, so the server ends with it, however it ended.
"""

import os
import shutil
import sys
import threading

packages, scratch = sys.argv[1:3]


def end_with_the_starter():
    while os.read(0, 4096):
        pass
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


threading.Thread(target=end_with_the_starter, daemon=True).start()
sys.path.insert(0, packages)
sys.argv = ["ministack"]

from ministack.app import main  # noqa: E402, from the directory above

main()
