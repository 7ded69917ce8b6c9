"""The reading half of the event backbone: the hub of a process, streams, the long poll and the pull API."""
