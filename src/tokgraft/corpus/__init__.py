"""From sources to pages: extraction, cleaning, deduplication, splits, parallel pairs."""
