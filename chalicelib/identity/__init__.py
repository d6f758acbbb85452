"""Which events a shard has counted: fingerprints of their ids, and what is remembered of them. Pure; no boto3 here."""
