"""The train verb: token shards in, checkpoint out, by one worker process or many."""
