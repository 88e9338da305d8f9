"""What every service's HTTP shares."""
