"""What each stream, queue and schedule does: one use case a module. No boto3 here; stores arrive as arguments."""
