"""Which shard of a generation a prompt belongs to."""

from typing import Any


def rows_of_shard(rows: list[dict[str, Any]], shard: int, shards: int) -> list[dict[str, Any]]:
    """The rows of one shard; a prompt's shard depends on its id only, so that adding prompts moves none."""
    return [row for row in rows if int(row["prompt_id"][:8], 16) % shards == shard]
