"""What agents send on their own: pushes."""
