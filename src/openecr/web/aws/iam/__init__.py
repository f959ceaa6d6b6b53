"""IAM: users, groups, roles and their policies."""
