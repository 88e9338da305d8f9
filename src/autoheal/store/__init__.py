"""The ledger and the tables of the engine on SQL, and its JSONL copy."""
