"""The connections of a server: uvicorn's protocols with deadlines and limits."""
