"""puffer-sweep's sweeper: searches, orchestrates, stores and shows."""
