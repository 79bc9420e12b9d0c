"""The API's data: requests as pydantic models (they are checked), answers as msgspec structs (they are encoded)."""
