"""Preflight: whether a packaged stage is fit to run, held against a checklist of what production asks for.

`checklist.py` says what a line of the list is, the modules named by subject declare them; `stage.py` reads the package
as CloudFormation will see it, `live.py` looks at a stage that runs.
"""
