"""What can be done, one file a kind."""
