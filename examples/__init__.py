"""Programs that use awb as a user would; run them from a checkout."""
