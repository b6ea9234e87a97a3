"""GitHub: the event, the client, the comment and the checks. The only user of github3."""
