"""Who may read what: tokens as a secret keeps them, and what each grants. Pure; no boto3 here."""
