"""Bytes to events: a Lambda event's records, KPL aggregates, compression, CloudEvents. Pure; no boto3 here."""
