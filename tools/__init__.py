"""Programs for whoever works on fastprune; nothing in here is installed."""
