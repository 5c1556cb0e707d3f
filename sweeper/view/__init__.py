"""What a person sees in the terminal while something runs: a live screen, plain lines, or JSON."""
