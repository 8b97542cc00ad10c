"""Vector indexes: ``open_index`` finds the database that keeps one. Who writes and who searches both come through here.

index = open_index("/data/articles.duckdb")            # or "postgresql://user@host/db", table="articles"
await index.replace(VectorRow(id=..., vector=..., text=..., metadata={...}) for ... in ...)
matches = await index.search(vector, k=10, conditions=read_filter({"lang": "de"}))
await index.close()
"""

from forebay.connectors.vectors.opening import open_index as open_index
