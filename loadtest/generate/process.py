"""Runs Locust on `localstage.leash`: it ends with the process that started it, however that one ends.

Not by leash's own script: Locust has gevent change the whole process when it is imported, which never ends where
another thread runs already. So gevent comes first, and the thread that waits is one of its pool's, a real one.
"""
# ruff: noqa: E402

from gevent import monkey

monkey.patch_all()  # before anything else is imported, as gevent asks

import sys
from pathlib import Path

import gevent
from locust.main import main

sys.path.insert(0, str(Path.cwd()))  # it is run as a script, with -P

from localstage import leash

if __name__ == "__main__":
    gevent.get_hub().threadpool.spawn(leash.end_with_the_parent)
    main()  # type: ignore[no-untyped-call]
