"""The verb that turns raw text into token shards."""
