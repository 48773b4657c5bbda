"""NIH ChestX-ray14, or X-rays of your own: from files to a report."""
