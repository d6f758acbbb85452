"""What is stored, as queries and consumers read it: shares of windows, progress, completeness. Pure; no boto3 here."""
