"""Generating load: events put when they are due, questions asked meanwhile, and how long both took.

Runs in Locust's processes, under gevent. `loadtest/locustfile.py` wires it; `master` and `worker` tell each other what
`messages` has. Only `users`, `master` and `worker` import Locust, for it changes the whole process when it is imported.
"""
