"""Whether a new version of a function may take traffic: what it is asked, and what it has to answer. No boto3 here."""
