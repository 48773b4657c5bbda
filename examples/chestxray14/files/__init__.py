"""Files that a crash, a power failure or a second process must not spoil."""
