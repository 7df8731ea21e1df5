"""What one replica is and what to do about it: three chains of rules over its facts and its ledger."""
