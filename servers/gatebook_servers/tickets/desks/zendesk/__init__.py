"""Tickets in a Zendesk Support account, over its API v2 (https://developer.zendesk.com/api-reference/ticketing/)."""
