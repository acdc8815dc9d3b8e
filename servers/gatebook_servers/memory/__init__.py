"""Memory: versioned notes by key that outlive the process, with ranked search."""
