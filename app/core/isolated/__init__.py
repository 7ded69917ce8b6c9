"""What runs in a child process of its own, because it reads what strangers sent: pure tasks, files to files.

Nothing here knows the service: a task sees its directory and its arguments, and no database and no secret.
"""
