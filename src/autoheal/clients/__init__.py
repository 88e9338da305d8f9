"""Each outside system once; a vendor's errors end here."""
