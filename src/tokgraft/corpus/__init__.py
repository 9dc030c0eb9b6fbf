"""The corpus stage: from raw text of a language to split, filtered pages with a count and a reason for everything dropped."""
