"""Runs ministack from the directory in argv[1] until standard input ends.

The other end of standard input is held by xtask alone, so the server ends with it, however it ended.
"""

import os
import sys
import threading


def end_with_the_starter():
    while os.read(0, 4096):
        pass
    os._exit(0)


threading.Thread(target=end_with_the_starter, daemon=True).start()
sys.path.insert(0, sys.argv[1])
sys.argv = ["ministack"]

from ministack.app import main  # noqa: E402, from the directory above

main()
