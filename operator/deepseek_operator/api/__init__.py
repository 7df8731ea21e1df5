"""What users write and read: the typed API, its conditions and reasons, and the CRD made from them."""
