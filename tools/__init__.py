"""Programs for developers of fastprune; they are not installed."""
