"""Windows, measures, metrics, partials: what is counted and how two counts become one. Pure; no boto3 here."""
