"""Jira Cloud and Jira Service Management behind the ticket desk's port."""
