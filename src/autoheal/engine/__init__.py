"""What happens: the one writer, the runner, the verifier, recovery, schedule."""
