"""The moves: everything that can change the state, one small class each."""
