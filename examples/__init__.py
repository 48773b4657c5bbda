"""Programs that use awb as its readers would; run them from a checkout."""
