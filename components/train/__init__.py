"""The train step: token shards in, checkpoint out, by one worker process or many."""
