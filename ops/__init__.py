"""Commands of a stage's operators, for any stage: each is `python -m ops.<command> --help`."""
