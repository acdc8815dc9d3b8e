"""The channels in which people learn that something waits for them. No channel gets the content of a request."""
